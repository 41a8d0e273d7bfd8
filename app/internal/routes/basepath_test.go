package routes

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/config"
)

// A base path that begins like a route would make a request mean either, so
// config has to know how all of them begin.
func TestOwnPaths(t *testing.T) {
	all, _ := All(Deps{Guard: access.New(access.Options{}), Logger: slog.New(slog.DiscardHandler)})
	if len(all) < 30 {
		t.Fatalf("only %d routes", len(all))
	}
	for _, r := range all {
		first, _, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
		if first != "" && !slices.Contains(config.OwnPaths, first) {
			t.Errorf("%s %s: config.OwnPaths lacks %q", r.Method, r.Path, first)
		}
	}
}
