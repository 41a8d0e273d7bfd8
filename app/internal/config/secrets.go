package config

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/app/internal/debugbundle"
)

// Secrets returns the secrets in a configuration: tokens, keys, and the values and URLs that
// contain passwords. They must not be logged or shown.
func (c Config) Secrets() []string {
	secrets := []string{c.Token, c.Store.Password}
	if c.CookieKeyFile != "" {
		keys, _ := os.ReadFile(c.CookieKeyFile) // unreadable: nothing to hide
		secrets = append(secrets, strings.Fields(string(keys))...)
	}
	urls := []string{c.Redis, c.Broker, c.Celery, c.CeleryResults, c.Files, c.UploadHook, c.Statsd}
	secrets = append(secrets, debugbundle.Secrets([]string{"URL=" + strings.Join(urls, " ")})...)
	for _, own := range c.Own {
		if !PlainValue(own.Value) {
			secrets = append(secrets, debugbundle.Secrets([]string{own.Name + "=" + own.Value})...)
		}
	}
	for _, spec := range c.Commands {
		secrets = append(secrets, debugbundle.Secrets(spec.Env)...)
	}
	for _, spec := range c.Programs {
		secrets = append(secrets, debugbundle.Secrets(spec.Env)...)
	}
	return secrets
}

// SecretsOnDisk returns the secrets in the configuration that Load would read, also if that
// has faults.
func SecretsOnDisk(command Command, p *Program, args, environ []string) []string {
	var c Config
	f := define(command, p, &c)
	_ = f.load(args, environ) // faults do not matter here
	f.loadTasksFile(&c, environ, p.Tasks)
	f.loadToken(&c)
	c.Own = f.settings
	return c.Secrets()
}

// PlainValue reports whether the value of a flag is a number, a duration or a truth value.
func PlainValue(value string) bool {
	_, errNumber := strconv.ParseFloat(value, 64)
	_, errDuration := time.ParseDuration(value)
	_, errBool := strconv.ParseBool(value)
	return errNumber == nil || errDuration == nil || errBool == nil
}

// ShownVariable reports whether the value of an environment variable is part of a debug
// bundle: those of Gale's own flags, and some of the Go runtime and the system.
func ShownVariable(name string) bool {
	if slices.Contains([]string{"GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG", "GOTRACEBACK", "TZ", "LANG", "LC_ALL", "PATH", "PWD", "HOME", "USER", "TMPDIR", "NOTIFY_SOCKET", "LISTEN_FDS"}, name) {
		return true
	}
	return slices.ContainsFunc(new(Program).FlagsOf(Serve), func(f Flag) bool { return f.Variable == name })
}
