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

// flags is the set of flags of a command, and the faults that were found while it was
// read.
type flags struct {
	set    *flag.FlagSet
	given  map[string]bool // set by file, environment or command line
	faults Faults

	program         *Program      // application that set includes the flags of
	otherFlags      *flag.FlagSet // flags of other commands, allowed in the file of -config
	commandLineOnly []string      // flags that are only read from the command line
	nonEmpty        []string      // flags that must not be set to an empty value

	settings []Setting // values of the application's own flags, in the order of setting

	// Values that resolve, parse or load converts for Config.
	queue, celeryQueues, origins, corsHeaders, proxies, tokenFile, uploadTypes, file string
}

func newFlags(command Command, p *Program) *flags {
	f := &flags{set: flag.NewFlagSet(p.Command()+" "+string(command), flag.ContinueOnError), given: map[string]bool{}, program: p}
	f.set.SetOutput(io.Discard)
	return f
}

// defineStatus declares the flags of the command status.
func defineStatus(p *Program, o *StatusOptions) *flags {
	f := newFlags(Status, p)
	f.set.StringVar(&o.Admin, "admin", DefaultAdmin, "`address` of the server's admin endpoint: host:port or unix:/path")
	f.set.BoolVar(&o.JSON, "json", false, "print the endpoint's response, which is JSON")
	f.set.BoolVar(&o.Ready, "ready", false, "check only whether the server is ready: exit status 0, or 1 and the reasons")
	return f
}

// defineControl declares the flags of the commands reload, stop and scale.
func defineControl(p *Program, command Command, o *ControlOptions) *flags {
	f := defineSubset(p, command, &o.Config, "admin", "token", "token-file")
	f.set.DurationVar(&o.Timeout, "timeout", 5*time.Minute, "`duration` to wait for the outcome")
	f.commandLineOnly = []string{"timeout"}
	return f
}

// defineBackup declares the flags of the command backup, which are flags of the server.
func defineBackup(p *Program, c *Config) *flags {
	return defineSubset(p, Backup, c, "data", "upload-dir", "files", "redis", "broker")
}

// defineSubset declares -config and some flags of the server for another command.
func defineSubset(p *Program, command Command, c *Config, names ...string) *flags {
	f := define(Serve, p, c)
	f.otherFlags, f.set = f.set, newFlags(command, p).set
	for _, name := range names {
		fl := f.otherFlags.Lookup(name)
		f.set.Var(fl.Value, name, fl.Usage)
	}
	f.set.StringVar(&f.file, "config", "", "`file` of flags; flags of other commands in it are ignored")
	return f
}

// define declares the flags of the server.
func define(command Command, p *Program, c *Config) *flags {
	f := newFlags(command, p)
	s := f.set
	f.nonEmpty = []string{"token", "token-file", "tls-cert", "tls-key", "cookie-key-file", "upload-dir", "files", "broker", "config", "upload-hook", "quarantine", "trace", "trace-link"}
	s.StringVar(&c.Host, "host", "127.0.0.1", "`address` to listen on")
	s.IntVar(&c.Port, "port", 8888, "TCP `port` to listen on; 0 is a free port")
	s.IntVar(&c.Procs, "procs", 0, "`number` of serve slots, or of worker slots for server worker; 0 is one per CPU")
	s.BoolVar(&c.Single, "single", false, "run everything in one process, for debugging and tests; sets -procs to 1")
	s.IntVar(&c.Workers, "workers", 1, "`number` of worker slots beside the serve slots (default with -redis: 0)")
	s.IntVar(&c.Concurrency, "concurrency", 0, "`number` of concurrent tasks per worker slot; 0 is two per CPU")
	s.StringVar(&f.queue, "queue", "default", "`queues` of the workers, comma-separated: in order of priority, or all with weights as in high=6,low=1")
	s.IntVar(&c.Pool, "pool", pool.DefaultWorkers, "`number` of goroutines per serve slot for blocking handlers")
	s.IntVar(&c.PoolQueue, "pool-queue", pool.DefaultQueue, "`number` of blocking handlers per serve slot that may wait for -pool; further requests get a 503 response")
	s.StringVar(&c.Redis, "redis", "", "`address` of Redis for tasks, channels, rate limits and caches: redis://, rediss:// or unix://;\nseveral, comma-separated, are a cluster (default none: tasks are in -data, the rest in an embedded state server)")
	s.StringVar(&c.Static, "static", "", "`folder` to serve under /static/ (default none)")
	s.StringVar(&c.Templates, "templates", "", "`folder` with the HTML templates of the application (default those that are part of the application)")
	s.BoolVar(&c.Watch, "watch", false, "for development: reload when the binary, the file of -config or -tasks, or a file of -templates changes;\nopen pages reload in the browser, also when a file of -static changes")
	s.StringVar(&c.Data, "data", "data", "`folder` for tasks, uploads and all other state")
	s.StringVar(&c.Broker, "broker", "", "task store: sqlite, which is a file in -data, or an `address` of Redis as for -redis (default the value of -redis, else sqlite)")
	s.StringVar(&c.Celery, "celery", "", "`address` of the Redis that is the broker of Celery clients: the workers take their messages as tasks;\nredis://HOST:PORT/DATABASE, rediss:// or unix:// (default none)")
	s.StringVar(&f.celeryQueues, "celery-queues", "celery", "`queues` of -celery to take messages from, comma-separated")
	s.StringVar(&c.CeleryResults, "celery-results", "", "`address` of the Redis that is the result backend of the Celery clients (default the value of -celery)")
	s.StringVar(&c.CeleryPrefix, "celery-prefix", "", "`prefix` of the keys of the Celery clients: their global_keyprefix (default none)")
	s.StringVar(&c.Token, "token", "", "bearer `token` for writes, and for reading files, tasks, channels and the console; prefer -token-file, because ps shows the command line")
	s.StringVar(&f.tokenFile, "token-file", "", "`file` that contains the token")
	s.BoolVar(&c.Open, "open", false, "allow writes without a token on a public address")
	s.StringVar(&f.origins, "origins", "", "other `origins` whose pages may use the server, comma-separated: https://app.example, https://*.example.com")
	s.StringVar(&f.corsHeaders, "cors-headers", "", "additional header `fields` that pages of -origins may send and read, comma-separated: X-Tenant")
	s.StringVar(&c.BasePath, "base-path", "", "`path` prefix that a proxy adds in front of the server, such as /gale; links include it, and it is removed from requests (default none)")
	s.Var(newSize(&c.MaxBody, 1<<20), "max-body", "maximum `size` of a request body, in bytes or with KiB, MiB or GiB; uploads have limits of their own")
	s.Var(newSize(&c.MaxHead, uploads.DefaultMaxHead), "max-head", "maximum `size` of the head of a request (else 431), and of the head of a part of a multipart form (else 400)")
	s.Var(count{&c.MaxConns}, "max-conns", "maximum `number` of open connections per serve slot, or off (default off)")
	s.Var(count{&c.MaxPerClient}, "max-conns-per-client", "maximum `number` of open connections per serve slot and client address, or off; trusted proxies are not limited (default off)")
	s.StringVar(&f.proxies, "trusted-proxies", "loopback", "`networks` of proxies, comma-separated, whose X-Forwarded-For, X-Real-IP, X-Scheme and X-Forwarded-Prefix are trusted; empty is none")
	s.Var(sampling{&c.AccessLog}, "access-log", "`requests` to log: off, all, or 1 in N (default off)")
	s.DurationVar(&c.SlowRequest, "slow-request", 0, "`duration` after which a request is logged as slow, with the time of each phase; 0 is off")
	s.StringVar(&c.Trace, "trace", "", "`address` of an OpenTelemetry Collector that gets the spans of requests and tasks, by OTLP over HTTP:\notlp://HOST:4318, or otlps:// for HTTPS, with an optional path (default none)")
	s.Float64Var(&c.TraceSample, "trace-sample", 1, "`part` of the traces to send, from 0 to 1; those with an error are always sent")
	s.StringVar(&c.TraceLink, "trace-link", "", "`URL` of a trace in a trace viewer, with {id} for the trace id, such as https://jaeger.example/trace/{id};\nthe console links the traces of tasks to it (default none)")
	s.BoolVar(&c.Compress, "compress", false, "compress responses with zstd, br or gzip for clients that accept it; see also -compress-level")
	s.IntVar(&c.CompressLevel, "compress-level", 4, "`level` of -compress: from 1, which needs the least CPU time, to 9, which makes the smallest responses")
	s.BoolVar(&c.WSCompress, "ws-compress", false, "compress WebSocket messages (permessage-deflate) for clients that offer it")
	s.DurationVar(&c.WSSendTimeout, "ws-send-timeout", 30*time.Second, "`duration` after which a slow consumer of a WebSocket or event stream is disconnected")
	s.StringVar(&c.TLSCert, "tls-cert", "", "PEM `file` with the certificate and its intermediate certificates; with -tls-key, serves HTTPS")
	s.StringVar(&c.TLSKey, "tls-key", "", "PEM `file` with the private key of -tls-cert")
	s.StringVar(&c.CookieKeyFile, "cookie-key-file", "", "`file` with the keys that sign cookies, in base64, one per line; the first key signs, all keys verify\n(default a key that is made in -data; several machines need the same file)")
	s.StringVar(&c.TasksFile, "tasks", "", "TOML `file` of command tasks, their schedules and worker programs (default none)")
	s.DurationVar(&c.Grace, "grace", 30*time.Second, "`duration` of a drain: a process that has not finished its work by then is killed")
	s.DurationVar(&c.BootTimeout, "boot-timeout", 30*time.Second, "`duration` within which a new process must be ready; else it is killed and started again")
	s.DurationVar(&c.HangTimeout, "hang-timeout", 30*time.Second, "`duration` without a heartbeat after which a process is killed and replaced; 0 is off")
	s.Int64Var(&c.MaxRequests, "max-requests", 0, "`number` of requests after which a process is replaced; 0 is off")
	s.Var(newSize(&c.MaxRSS, 0), "max-rss", "`size` of resident memory above which a process is replaced; 0 is off")
	s.StringVar(&c.Admin, "admin", DefaultAdmin, "`address` of the admin endpoint with /metrics, /healthz, /readyz and /status: host:port or unix:/path; empty is off")
	s.StringVar(&c.Statsd, "statsd", "", "`address` of a statsd daemon, host:port, that gets the metrics of /metrics by UDP every 10 seconds;\n?tags=datadog sends labels as tags and not in names, ?prefix=NAME replaces the prefix gale (default none)")
	s.BoolVar(&c.Pprof, "pprof", false, "serve profiles on the admin endpoint, at /debug/pprof/SLOT/, also without a token")
	s.StringVar(&f.file, "config", "", "`file` of flags, one per line without the dash: port 8888")
	s.StringVar(&c.LogFormat, "log-format", "text", "`format` of the log: text or json")
	s.StringVar(&c.LogLevel, "log-level", "info", "lowest `level` to log: debug, info, warn or error")
	f.defineUploads(c)
	f.addProgram()
	return f
}

// defineUploads declares the flags of uploaded files.
func (f *flags) defineUploads(c *Config) {
	s := f.set
	s.IntVar(&c.UploadPool, "upload-pool", 5, "`number` of goroutines per serve slot that write uploads to disk")
	s.StringVar(&c.UploadDir, "upload-dir", "", "`folder` for uploaded files; not used with -files (default uploads inside -data)")
	s.StringVar(&c.Files, "files", "", "`address` of object storage for uploaded files and artifacts, shared by several machines: s3://BUCKET/PREFIX?endpoint=URL&region=REGION\n(default none: -upload-dir); credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a shared credentials file, or a role")
	s.DurationVar(&c.FilesRedirect, "files-redirect", 0, "`duration` for which a URL of -files is valid, to which downloads are redirected; 0 is off: the server sends the files")
	s.IntVar(&c.MaxParts, "max-parts", uploads.DefaultMaxParts, "maximum `number` of parts of a multipart form, text fields and files together; else 400")
	s.IntVar(&c.MaxFiles, "max-files", uploads.DefaultMaxFiles, "maximum `number` of files in a multipart form; else 400")
	s.Var(newSize(&c.MaxField, uploads.DefaultMaxField), "max-field", "maximum `size` of a text field of a multipart form; else 413")
	s.Var(newSize(&c.MaxUpload, 1<<30), "max-upload", "maximum `size` of an uploaded file; else 413")
	s.Var(newSize(&c.MaxUnfinished, 16<<30), "max-unfinished", "maximum `size` of all unfinished resumable uploads together; the default is at least four times -max-upload")
	s.DurationVar(&c.UploadExpiry, "upload-expiry", 24*time.Hour, "retention of an unfinished resumable upload after its last byte")
	s.StringVar(&f.uploadTypes, "upload-types", ".mp3,.wav", "filename `endings` that the urlencoded upload form accepts, comma-separated; * is all")
	s.StringVar(&c.UploadHook, "upload-hook", "", "`URL` or command that decides about each file before it is received: it may refuse it, rename it and limit its size (default none)")
	s.StringVar(&c.Quarantine, "quarantine", "", "`task` that each stored file must pass: until it succeeds, the file cannot be read; if it fails, the file is removed (default none)")
	s.Var(&quotas{&c.Quotas}, "quota", "maximum `sizes` of all files below a directory, comma-separated: photos=10GiB,*=100GiB; * is all files; else 403 (default none)")
	s.Var(newSize(&c.QuotaSubject, 0), "quota-subject", "maximum `size` of all files of a sender whom the application identifies; else 403; 0 is off")
	s.StringVar(&c.OnUpload, "on-upload", f.program.OnUpload, "`task` to start for each uploaded file; empty is none")
}

// sourced is a value for a flag, and its source for error messages.
type sourced struct{ name, value, source string }

// load sets the flags from the file, the environment and the command line, in this
// order. The last value of a flag counts. The error is ErrHelp or nil; everything else
// becomes a fault.
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
			f.fault("%s: is empty; remove it for the default", s.source)
		}
		if !utf8.ValidString(s.value) { // children get the value as JSON
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

// reasonOf returns the text of an error of package flag, in clearer words.
func reasonOf(err error) string {
	switch err.Error() {
	case "parse error":
		return "wrong syntax"
	case "value out of range":
		return "out of range"
	}
	return err.Error()
}

func (f *flags) fault(format string, args ...any) {
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

// commandLine parses all arguments. Package flag would stop at the first fault.
func (f *flags) commandLine(args []string) (found []sourced, err error) {
	lenient := flag.NewFlagSet(f.set.Name(), flag.ContinueOnError)
	lenient.SetOutput(io.Discard)
	f.set.VisitAll(func(fl *flag.Flag) {
		lenient.Var(recorder{takesNoValue(fl), func(value string) {
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
			// The next argument may be the value of the unknown flag.
			if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				args = args[1:]
			}
		case len(args) == 0:
			return found, nil
		default:
			f.fault("unexpected argument %q", args[0])
			args = args[1:]
		}
	}
}

// takesNoValue reports whether a flag can be given without a value, as flags of type bool.
func takesNoValue(fl *flag.Flag) bool {
	b, ok := fl.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// recorder is a flag.Value that accepts every value and passes it to record.
type recorder struct {
	isBool bool
	record func(string)
}

func (recorder) String() string       { return "" }
func (r recorder) IsBoolFlag() bool   { return r.isBool }
func (r recorder) Set(v string) error { r.record(v); return nil }

// environment returns the flags that environment variables set: GALE_MAX_BODY sets
// -max-body. The program's own flags have its own prefix. Variables that match no flag
// are ignored.
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

// variable returns the name of the environment variable for one of Gale's flags.
func variable(name string) string { return "GALE_" + variablePart(name) }

// configFile reads the file that -config names: one flag and its value per line, without
// the dash. A comment begins with #.
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
			if takesNoValue(fl) && value == "" {
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
