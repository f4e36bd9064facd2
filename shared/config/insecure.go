package config

import (
	"log/slog"
	"slices"
	"strings"
)

// InsecureSetting is a setting that turns a protection off.
type InsecureSetting struct {
	Setting string // its name
	Risk    string // what can happen
}

// EnabledSettings returns those of all that are on, in the order of their names.
func EnabledSettings(all map[InsecureSetting]bool) (on []InsecureSetting) {
	for o, is := range all {
		if is {
			on = append(on, o)
		}
	}
	slices.SortFunc(on, func(a, b InsecureSetting) int { return strings.Compare(a.Setting, b.Setting) })
	return on
}

// WarnInsecure logs the options that are on.
func WarnInsecure(log *slog.Logger, on []InsecureSetting) {
	for _, o := range on {
		log.Warn("insecure setting: "+o.Risk, "setting", o.Setting, "insecure_settings", len(on))
	}
}
