package config

import (
	"log/slog"
	"slices"
	"strings"
)

// Relaxation is a setting that takes a protection away, where somebody has said so.
type Relaxation struct {
	Setting string // its name
	Means   string // for who reads the log
}

// Relaxed are those relaxations that are on.
func Relaxed(all map[Relaxation]bool) (on []Relaxation) {
	for r, is := range all {
		if is {
			on = append(on, r)
		}
	}
	slices.SortFunc(on, func(a, b Relaxation) int { return strings.Compare(a.Setting, b.Setting) })
	return on
}

// Warn says at the start which relaxations are on.
func Warn(log *slog.Logger, on []Relaxation) {
	for _, r := range on {
		log.Warn("relaxed: "+r.Means, "setting", r.Setting, "relaxations", len(on))
	}
}
