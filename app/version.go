package app

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// modulePath is where an application finds Gale.
const modulePath = "github.com/galeserver/gale"

// version says what runs: Gale's own server, or an application and the Gale that
// it is built on, as far as the build recorded it.
func version(a Application) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(a, info)
}

func versionOf(a Application, info *debug.BuildInfo) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	main := cmp.Or(info.Main.Version, "(devel)")
	if rev := set["vcs.revision"]; rev != "" && main == "(devel)" {
		main = rev
		if set["vcs.modified"] == "true" {
			main += "+dirty"
		}
	}
	gale := main
	for _, m := range info.Deps {
		if m.Path == modulePath && m.Replace != nil {
			gale = cmp.Or(m.Replace.Version, "(devel)")
		} else if m.Path == modulePath {
			gale = m.Version
		}
	}
	if a.Name == "" {
		return fmt.Sprintf("gale %s %s", cmp.Or(a.Version, gale), info.GoVersion)
	}
	return fmt.Sprintf("%s %s, gale %s %s", a.Name, cmp.Or(a.Version, main), gale, info.GoVersion)
}
