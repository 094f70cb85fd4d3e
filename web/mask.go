package web

import "regexp"

// secretParam finds query parameters whose names say that their values are nobody else's business.
var secretParam = regexp.MustCompile(`(?i)([?&;]|^)([^=&?;\s]*(?:token|secret|passw|api[-_]?key|apikey|auth|signature|credential|session)[^=&?;]*=)[^&;\s]+`)

// Mask hides the values of parameters of a key that look like secrets; told is whether there were any.
func Mask(key string) (shown string, told bool) {
	shown = secretParam.ReplaceAllString(key, "$1$2***")
	return shown, shown != key
}
