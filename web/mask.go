package web

import "regexp"

// secretParam finds query parameters whose names say that their values are nobody else's business.
var secretParam = regexp.MustCompile(`(?i)([?&;]|^)([^=&?;\s]*(?:token|secret|passw|api[-_]?key|apikey|auth|signature|credential|session)[^=&?;]*=)[^&;\s]+`)

// Mask hides the values of parameters of a key that look like secrets; told is whether there were any.
func Mask(key string) (shown string, told bool) {
	shown = secretParam.ReplaceAllString(key, "$1$2***")
	return shown, shown != key
}

// secretName is what the name of such a parameter holds.
var secretName = regexp.MustCompile(`(?i)token|secret|passw|api[-_]?key|auth|signature|credential|session`)

// SecretName reports whether a parameter of this name looks like a secret.
func SecretName(name string) bool { return secretName.MatchString(name) }
