package app

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// modulePath is the path of Gale's module in the build information of an application.
const modulePath = "github.com/galeserver/gale"

// version returns the version of Gale, preceded by the version of the application if
// there is one, and the version of Go, from the build information.
func version(a Application) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(a, info)
}

func versionOf(a Application, info *debug.BuildInfo) string {
	own, gale := releases(a, info)
	if a.Name == "" {
		return fmt.Sprintf("gale %s %s", own, info.GoVersion)
	}
	return fmt.Sprintf("%s %s, gale %s %s", a.Name, own, gale, info.GoVersion)
}

// release is the version of an application alone, or that of Gale's own server.
func release(a Application) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(a.Version, "unknown")
	}
	own, _ := releases(a, info)
	return own
}

// releases returns the versions of an application and of the Gale that it is built on.
func releases(a Application, info *debug.BuildInfo) (own, gale string) {
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
	gale = main
	for _, m := range info.Deps {
		if m.Path == modulePath && m.Replace != nil {
			gale = cmp.Or(m.Replace.Version, "(devel)")
		} else if m.Path == modulePath {
			gale = m.Version
		}
	}
	if a.Name == "" {
		return cmp.Or(a.Version, gale), gale
	}
	return cmp.Or(a.Version, main), gale
}
