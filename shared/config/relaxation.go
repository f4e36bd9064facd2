package config

import (
	"log/slog"
	"slices"
	"strings"
)

// Relaxation is a setting that disables a protection.
type Relaxation struct {
	Setting string // its name
	Means   string // for the reader of the log
}

// Relaxed returns the relaxations that are set.
func Relaxed(all map[Relaxation]bool) (on []Relaxation) {
	for r, is := range all {
		if is {
			on = append(on, r)
		}
	}
	slices.SortFunc(on, func(a, b Relaxation) int { return strings.Compare(a.Setting, b.Setting) })
	return on
}

// Warn logs them at start.
func Warn(log *slog.Logger, on []Relaxation) {
	for _, r := range on {
		log.Warn("relaxed: "+r.Means, "setting", r.Setting, "relaxations", len(on))
	}
}
