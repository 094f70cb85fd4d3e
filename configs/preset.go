package configs

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed penstock.yaml
var starter string

// Presets lists the presets.
func Presets() []string { return []string{"aggressive", "balanced", "conservative"} }

// Init returns the commented YAML file to start from, with the preset set; "" is balanced.
func Init(preset string) (string, error) {
	if preset == "" {
		preset = Defaults().Preset
	}
	if !slices.Contains(Presets(), preset) {
		return "", fmt.Errorf("there is no preset %q; there are %s", preset, strings.Join(Presets(), ", "))
	}
	return strings.Replace(starter, "preset: balanced", "preset: "+preset, 1), nil
}
