package config

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/peterbourgon/ff/v3"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/uploads"
)

// flags is a set of flags and what was found wrong while it was filled.
type flags struct {
	set    *flag.FlagSet
	given  map[string]bool // set by file, environment or command line
	faults Faults

	program         *Program      // whose flags are among them
	otherFlags      *flag.FlagSet // flags of other commands, which a file may name
	commandLineOnly []string      // flags that the command line alone gives
	nonEmpty        []string      // flags of which an empty value means nothing

	settings []Setting // of the application's own flags, in order

	// Values that Config holds in another form.
	queue, origins, corsHeaders, proxies, tokenFile, uploadTypes, file string
}

func newFlags(command Command, p *Program) *flags {
	f := &flags{set: flag.NewFlagSet(p.Command()+" "+string(command), flag.ContinueOnError), given: map[string]bool{}, program: p}
	f.set.SetOutput(io.Discard)
	return f
}

// defineStatus declares the flags of the command status.
func defineStatus(p *Program, o *StatusOptions) *flags {
	f := newFlags(Status, p)
	f.set.StringVar(&o.Admin, "admin", DefaultAdmin, "`address` of the server's admin endpoint, or unix:/path")
	f.set.BoolVar(&o.JSON, "json", false, "print what the endpoint answers, for machines")
	f.set.BoolVar(&o.Ready, "ready", false, "say only whether all roles do their work: exit status 0, or 1 and why not")
	return f
}

// define declares every flag of the server, with the words that -help prints.
func define(command Command, p *Program, c *Config) *flags {
	f := newFlags(command, p)
	s := f.set
	f.nonEmpty = []string{"token", "token-file", "tls-cert", "tls-key", "upload-dir", "broker", "config"}
	s.StringVar(&c.Host, "host", "127.0.0.1", "`address` to listen on")
	s.IntVar(&c.Port, "port", 8888, "TCP `port` to listen on; 0 picks a free one")
	s.IntVar(&c.Procs, "procs", 0, "`number` of serve slots (server worker: of worker slots); 0 is one per CPU")
	s.BoolVar(&c.Single, "single", false, "run everything in one process, for a debugger, tests or a quick look; -procs is 1")
	s.IntVar(&c.Workers, "workers", 1, "`number` of worker slots under this master (default with -redis: 0)")
	s.IntVar(&c.Concurrency, "concurrency", 0, "`number` of tasks at once in each worker; 0 is two per CPU")
	s.StringVar(&f.queue, "queue", "default", "`queues` a worker takes from, comma separated: first first, or as often as their weights say, high=6,low=1")
	s.IntVar(&c.Pool, "pool", pool.DefaultWorkers, "`number` of goroutines per child for blocking handlers")
	s.IntVar(&c.PoolQueue, "pool-queue", pool.DefaultQueue, "`number` of blocking handlers per child that may wait; beyond it 503")
	s.StringVar(&c.Redis, "redis", "", "`address` of the Redis that tasks, limits and caches are shared through: redis://, rediss://, unix://;\nseveral, comma separated, are a cluster (default none: files in -data, and a store of its own for this machine)")
	s.StringVar(&c.Static, "static", "", "`folder` served under /static/ (default none)")
	s.IntVar(&c.UploadPool, "upload-pool", 5, "`number` of goroutines per child that write uploads")
	s.StringVar(&c.Data, "data", "data", "`folder` of the state")
	s.StringVar(&c.Broker, "broker", "", "where tasks wait: sqlite, which is in -data, or an `address` as for -redis (default as -redis, else sqlite)")
	s.StringVar(&c.UploadDir, "upload-dir", "", "`folder` where uploads land (default uploads inside -data)")
	s.StringVar(&c.Token, "token", "", "bearer `token` that writes need; other users can see it in ps")
	s.StringVar(&f.tokenFile, "token-file", "", "`file` that holds the token")
	s.BoolVar(&c.Open, "open", false, "allow writes without a token on a public address")
	s.StringVar(&f.origins, "origins", "", "other `origins` whose pages may use the server, comma separated: https://app.example, https://*.example.com")
	s.StringVar(&f.corsHeaders, "cors-headers", "", "header `fields` that pages of -origins may send and read beyond those that Gale uses, comma separated: X-Tenant")
	s.StringVar(&c.BasePath, "base-path", "", "`path` that a proxy shows in front of every path, such as /gale; it is put into links, and removed from requests that carry it (default none)")
	s.Var(newSize(&c.MaxBody, 1<<20), "max-body", "limit on a request's body, in bytes or with KiB, MiB, GiB (`size`)")
	s.Var(newSize(&c.MaxHead, uploads.DefaultMaxHead), "max-head", "limit on the head of a request (beyond it 431), and on that of a part of a multipart form (400) (`size`)")
	s.IntVar(&c.MaxParts, "max-parts", uploads.DefaultMaxParts, "`number` of parts, text fields and files together, that a multipart form may have; beyond it 400")
	s.IntVar(&c.MaxFiles, "max-files", uploads.DefaultMaxFiles, "`number` of files that a multipart form may have; beyond it 400")
	s.Var(newSize(&c.MaxField, uploads.DefaultMaxField), "max-field", "limit on a text field of a multipart form; beyond it 413 (`size`)")
	s.Var(newSize(&c.MaxUpload, 1<<30), "max-upload", "limit on an uploaded file (`size`)")
	s.Var(newSize(&c.MaxUnfinished, 16<<30), "max-unfinished", "limit on all resumable uploads that are unfinished, together (`size`); the default is four times -max-upload if that is more")
	s.DurationVar(&c.UploadExpiry, "upload-expiry", 24*time.Hour, "how long an unfinished resumable upload is kept after its last byte")
	s.Var(count{&c.MaxConns}, "max-conns", "open connections per child at most: off, or a `number` (default off)")
	s.Var(count{&c.MaxPerClient}, "max-conns-per-client", "the same for each client address; trusted proxies are not counted (default off)")
	s.StringVar(&f.proxies, "trusted-proxies", "loopback", "`networks` whose X-Forwarded-For, X-Real-IP, X-Scheme and X-Forwarded-Prefix are believed, comma separated; empty for none")
	s.Var(sampling{&c.AccessLog}, "access-log", "off, all, or 1 in N: which requests are logged (default off)")
	s.BoolVar(&c.WSCompress, "ws-compress", false, "compress WebSocket messages (permessage-deflate) for clients that offer it")
	s.DurationVar(&c.WSSendTimeout, "ws-send-timeout", 30*time.Second, "how long a client of a WebSocket or event stream that reads too slowly may be paused")
	s.StringVar(&c.TLSCert, "tls-cert", "", "`file` of the certificate, and those between it and its root, in PEM: serve HTTPS")
	s.StringVar(&c.TLSKey, "tls-key", "", "`file` of the certificate's key, in PEM")
	s.StringVar(&f.uploadTypes, "upload-types", ".mp3,.wav", "what the urlencoded form takes: `endings`, comma separated; * for all")
	s.StringVar(&c.OnUpload, "on-upload", p.OnUpload, "`task` started for each stored file; empty for none")
	s.StringVar(&c.TasksFile, "tasks", "", "TOML `file` of command tasks and their schedules (default none)")
	s.DurationVar(&c.Grace, "grace", 30*time.Second, "how long a leaving child may finish its work")
	s.DurationVar(&c.BootTimeout, "boot-timeout", 30*time.Second, "when a child that is not ready counts as failed to start")
	s.DurationVar(&c.HangTimeout, "hang-timeout", 30*time.Second, "when a child that shows no life counts as hung; 0 is never")
	s.Int64Var(&c.MaxRequests, "max-requests", 0, "`number` of requests after which a child is replaced; 0 is never")
	s.Var(newSize(&c.MaxRSS, 0), "max-rss", "resident memory from which on a child is replaced (`size`); 0 is never")
	s.StringVar(&c.Admin, "admin", DefaultAdmin, "`address` of /metrics, /healthz, /readyz and /status, or unix:/path; empty turns it off")
	s.BoolVar(&c.Pprof, "pprof", false, "serve profiles there, at /debug/pprof/SLOT/, without a token too")
	s.StringVar(&f.file, "config", "", "`file` of flags, one a line: port 8888")
	s.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	s.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.addProgram()
	return f
}

// setting is a value for a flag and where it comes from.
type sourced struct{ name, value, source string }

// load applies file, environment and command line, in this order, so that the
// last one wins. What is wrong with any of them becomes a fault.
func (f *flags) load(args, environ []string) error {
	f.faults = append(f.faults, f.program.flagClashes()...)
	line, err := f.commandLine(args)
	if err != nil {
		return err
	}
	env := f.environment(environ)
	for _, s := range append(env, line...) {
		if s.name == "config" {
			f.file = s.value
		}
	}
	for _, s := range append(append(f.configFile(), env...), line...) {
		if s.value == "" && slices.Contains(f.nonEmpty, s.name) {
			f.fault("%s: is empty; leave it out for the default", s.source)
		}
		if !utf8.ValidString(s.value) { // its children get it as JSON, which cannot hold it
			f.fault("%s: %q is not valid UTF-8", s.source, s.value)
		} else if err := f.set.Set(s.name, s.value); err != nil {
			f.fault("%s: %q is not valid: %v", s.source, s.value, reasonOf(err))
		}
		if f.program.owns(s.name) {
			f.settings = append(f.settings, Setting{s.name, s.value})
		}
		f.given[s.name] = true
	}
	return nil
}

// reasonOf strips "parse error" down to something a person can act on.
func reasonOf(err error) string {
	switch err.Error() {
	case "parse error":
		return "wrong form"
	case "value out of range":
		return "out of range"
	}
	return err.Error()
}

func (f *flags) fault(format string, args ...any) {
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

// commandLine parses the arguments without stopping at the first fault, as the
// flag package would.
func (f *flags) commandLine(args []string) (found []sourced, err error) {
	lenient := flag.NewFlagSet(f.set.Name(), flag.ContinueOnError)
	lenient.SetOutput(io.Discard)
	f.set.VisitAll(func(fl *flag.Flag) {
		_, isBool := fl.Value.(interface{ IsBoolFlag() bool })
		lenient.Var(recorder{isBool, func(value string) {
			found = append(found, sourced{fl.Name, value, "-" + fl.Name})
		}}, fl.Name, "")
	})
	for {
		err := lenient.Parse(args)
		args = lenient.Args()
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil, err
		case err != nil:
			f.fault("%v", strings.Replace(err.Error(), "flag provided but not defined:", "unknown flag", 1))
			// Whether the word that follows is its value cannot be known.
			if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				args = args[1:]
			}
		case len(args) == 0:
			return found, nil
		default:
			f.fault("unexpected argument %q: flags follow the verb", args[0])
			args = args[1:]
		}
	}
}

// recorder is a flag.Value that takes anything and passes it on.
type recorder struct {
	isBool bool
	record func(string)
}

func (recorder) String() string       { return "" }
func (r recorder) IsBoolFlag() bool   { return r.isBool }
func (r recorder) Set(v string) error { r.record(v); return nil }

// environment finds the flags that are set as GALE_NAME, GALE_MAX_BODY for
// max-body, and the application's by its own prefix. Variables that name no flag are somebody else's.
func (f *flags) environment(environ []string) (found []sourced) {
	vars := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	f.set.VisitAll(func(fl *flag.Flag) {
		name := f.program.variable(fl.Name)
		if value, ok := vars[name]; ok && !f.isCommandLineOnly(fl) {
			found = append(found, sourced{fl.Name, value, name})
		}
	})
	return found
}

// variable is the name under which the environment holds a flag of Gale's.
func variable(name string) string { return "GALE_" + variablePart(name) }

// configFile reads the file of flags: a flag and its value a line, # begins a
// comment.
func (f *flags) configFile() (found []sourced) {
	if f.file == "" {
		return nil
	}
	text, err := os.ReadFile(f.file)
	if err != nil {
		f.fault("-config: %v", err)
		return nil
	}
	err = ff.PlainParser(bytes.NewReader(text), func(name, value string) error {
		source := f.file + ": " + name
		fl := f.set.Lookup(name)
		switch {
		case f.isOfOtherCommand(name), fl != nil && f.isCommandLineOnly(fl):
		case fl == nil || name == "config":
			f.fault("%s: unknown flag", source)
		default:
			if _, isBool := fl.Value.(interface{ IsBoolFlag() bool }); isBool && value == "" {
				value = "true"
			}
			found = append(found, sourced{name, value, source})
		}
		return nil
	})
	if err != nil && !errors.Is(err, bufio.ErrTooLong) {
		f.fault("%s: %v", f.file, err)
	} else if err != nil {
		f.fault("%s: a line is too long", f.file)
	}
	return found
}
