// Package config reads the configuration of a server from the command line, the
// environment and a file of flags, and reports all faults at once. No other package
// reads flags or environment variables.
package config

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/app/internal/filewatch"
	programs "github.com/galeserver/gale/app/internal/program"
)

// DefaultAdmin is the default of -admin.
const DefaultAdmin = "127.0.0.1:9888"

// SQLite is the value of -broker for a task store in -data, without Redis.
const SQLite = "sqlite"

// Config is the configuration of a server. The master reads it when it starts and on
// each reload, and passes it to its children as JSON.
type Config struct {
	Host          string
	Port          int
	Procs         int      // number of serve slots, at least 1; of worker slots for the command worker
	Single        bool     // run everything in one process
	Workers       int      // number of worker slots of a serving master
	Concurrency   int      // concurrent tasks per worker, at least 1
	Queues        []string // queues of the workers
	Weights       []int    // weights of Queues; empty: Queues is in order of priority
	Pool          int      // goroutines per process for blocking handlers
	PoolQueue     int      // blocking handlers per process that may wait for one of them
	Redis         string   // addresses for redisdb.Open; empty: the embedded state server, whose address the master fills in
	Store         Store    // embedded state server, or zero
	Static        string   // folder served under /static/, or empty
	Watch         bool     // reload when files change
	Watched       string   // with Watch: stamp of Templates, ConfigFile and TasksFile; see filewatch.Stamp
	ConfigFile    string   // file of flags, or empty
	Templates     string   // folder of the templates, or empty for the application's own
	UploadPool    int      // goroutines per process that write uploads
	Data          string
	Broker        string   // task store: SQLite, or addresses of Redis
	Celery        string   // Redis of Celery clients whose tasks the workers take, or empty
	CeleryResults string   // result backend of these; empty: Celery
	CeleryQueues  []string // queues of Celery to take from
	CeleryPrefix  string   // prefix of Celery's keys
	UploadDir     string
	FilesRedirect time.Duration // validity of a URL of Files to which downloads are redirected; 0 is off
	Files         string        // object storage for uploaded files, for s3.Parse; empty: UploadDir
	Token         string
	Open          bool
	Origins       []string       // other allowed origins, for server.ParseOrigins
	CORSHeaders   []string       // additional header fields for pages of these origins
	BasePath      string         // path prefix that a proxy adds for clients, or empty
	MaxBody       int64          // bytes
	MaxHead       int64          // bytes; for a request's head and for the head of a part of a form
	MaxParts      int            // parts of a form, files included
	MaxFiles      int            // files of a form
	MaxField      int64          // bytes of a text field of a form
	MaxUpload     int64          // bytes
	MaxUnfinished int64          // bytes of all unfinished resumable uploads
	UploadExpiry  time.Duration  // retention of an unfinished upload after its last byte
	MaxConns      int            // connections per process; 0 is no limit
	MaxPerClient  int            // connections per process and client address; 0 is no limit
	Proxies       []netip.Prefix // proxies whose X-Forwarded-For and related fields are trusted
	AccessLog     int            // n: one request in n is logged; 0: none
	SlowRequest   time.Duration  // duration after which a request is logged as slow; 0 is off
	Trace         string         // OpenTelemetry Collector for spans, for otlp.Parse; empty is off
	TraceSample   float64        // part of the traces that are sampled, 0 to 1
	TraceLink     string         // URL of a trace in a trace viewer, with {id} for the trace id, or empty
	Compress      bool           // compress responses
	CompressLevel int            // 1 to 9
	TLSCert       string         // file, or empty for plain HTTP
	TLSKey        string
	CookieKeyFile string          // file with the keys that sign cookies; empty: a key is made in Data
	UploadHook    string          // URL or command that decides about each upload, or empty
	Quarantine    string          // task that each stored file must pass before it can be read, or empty
	Quotas        []Quota         // limits of directories
	QuotaSubject  int64           // bytes; limit of each sender of files; 0 is none
	OnUpload      string          // task for each stored file, or empty
	UploadTypes   []string        // allowed filename endings of the urlencoded form: lower case with a dot, or *
	TasksFile     string          // file with command tasks, or empty
	Commands      []command.Spec  // tasks of TasksFile
	Programs      []programs.Spec // worker programs of TasksFile
	Path          string          // environment variable PATH, to find the programs of command tasks
	WSCompress    bool
	WSSendTimeout time.Duration // limit on how long a slow consumer is paused
	Grace         time.Duration
	BootTimeout   time.Duration
	HangTimeout   time.Duration // 0 is off
	MaxRequests   int64         // 0 is off
	MaxRSS        int64         // bytes; 0 is off
	Admin         string        // host:port, unix:/path, or empty for none
	Statsd        string        // for statsd.Parse, or empty for none
	Pprof         bool          // serve profiles without a token
	LogFormat     string
	LogLevel      string
	// Own holds the values of the application's own flags that were set, in the order
	// in which they were set.
	Own []Setting
}

// Address returns the address to listen on, host:port.
func (c Config) Address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// Scheme returns "https" if a certificate is set, else "http".
func (c Config) Scheme() string {
	if c.TLSCert != "" {
		return "https"
	}
	return "http"
}

// Warnings returns settings that are valid but may have an unexpected effect, a line
// each.
func (c Config) Warnings() (all []string) {
	// A subprotocol is a token (RFC 6455 section 4.1, RFC 9110 section 5.6.2). loadToken
	// accepts two characters that a token cannot contain.
	if strings.ContainsAny(c.Token, "/=") {
		all = append(all, "token: it contains / or =, so browsers cannot send it as the WebSocket subprotocol bearer.<token>; "+
			"they must send bearer64.<token in base64url without padding>")
	}
	if len(c.Programs) > 0 && c.Workers == 0 {
		all = append(all, "-tasks: the programs of [workers.NAME] do not run, because -workers is 0")
	}
	return all
}

// Faults lists everything that is wrong with a configuration, a line each.
type Faults []string //nolint:errname // a list of faults

// Error returns all faults, one per line.
func (f Faults) Error() string {
	if len(f) == 1 {
		return "configuration: " + f[0]
	}
	return fmt.Sprintf("configuration: %d faults\n  %s", len(f), strings.Join(f, "\n  "))
}

// ExitCode returns 2, the exit status that package flag uses for errors.
func (Faults) ExitCode() int { return 2 }

// ErrHelp is the error of Load if the arguments contain -h or -help.
var ErrHelp = flag.ErrHelp

// Command is the name of a command that takes flags.
type Command string

// Commands with flags; see also Tasks. The command "check" has the flags of Serve.
const (
	Serve  Command = "serve"
	Worker Command = "worker"
	Status Command = "status"
	Reload Command = "reload"
	Stop   Command = "stop"
	Scale  Command = "scale"
	Backup Command = "backup"
	Debug  Command = "debug"
)

// Load reads and validates the configuration for a command. A flag has precedence over
// the environment variable GALE_NAME, the variable over the file that -config names, and
// the file over the default. Load also sets the program's own flags. Its error is
// ErrHelp or of type Faults.
func Load(command Command, p *Program, args, environ []string) (Config, error) {
	c := Config{}
	f := define(command, p, &c)
	if err := f.load(args, environ); err != nil {
		return Config{}, err
	}
	f.resolve(command, &c)
	f.validate(command, &c, f.loadTasksFile(&c, environ, p.Tasks))
	f.checkProgram()
	c.Own = f.settings
	f.checkSize(c)
	if len(f.faults) > 0 {
		return Config{}, f.faults
	}
	return c, nil
}

// MaxSize is the largest size of a configuration as JSON, in bytes: package prefork
// passes it to a child in one message.
const MaxSize = 128 << 10

// checkSize checks that the configuration can be passed to children.
func (f *flags) checkSize(c Config) {
	if text, err := json.Marshal(c); err != nil {
		f.fault("configuration: %v", err)
	} else if len(text) > MaxSize {
		f.fault("configuration: all flags and the tasks file together have %d bytes as JSON, more than the limit of %d; "+
			"move long values into files", len(text), MaxSize)
	}
}

// ForStateServer returns the part of the configuration that the embedded state server
// needs: without token, Redis addresses, tasks and the application's flags.
func (c Config) ForStateServer() Config {
	return Config{Store: c.Store, Grace: c.Grace, Admin: c.Admin, Statsd: c.Statsd, LogFormat: c.LogFormat, LogLevel: c.LogLevel}
}

// StatusOptions are the settings of the command status.
type StatusOptions struct {
	Admin string // address of the server's admin endpoint
	JSON  bool
	Ready bool // check only whether the server is ready
}

// LoadStatus is like Load for the command status.
func LoadStatus(p *Program, args, environ []string) (StatusOptions, error) {
	var o StatusOptions
	f := defineStatus(p, &o)
	if err := f.load(args, environ); err != nil {
		return o, err
	}
	f.checkAdmin(o.Admin)
	if len(f.faults) > 0 {
		return o, f.faults
	}
	return o, nil
}

// ControlOptions are the settings of the commands reload, stop and scale.
type ControlOptions struct {
	Config  // only Admin and Token are set
	Timeout time.Duration
}

// LoadControl is like Load for the commands reload, stop and scale.
func LoadControl(p *Program, command Command, args, environ []string) (ControlOptions, error) {
	var o ControlOptions
	f := defineControl(p, command, &o)
	if err := f.load(args, environ); err != nil {
		return o, err
	}
	f.checkAdmin(o.Admin)
	if o.Admin == "" {
		f.fault("-admin: without an address, only signals control the server")
	}
	f.loadToken(&o.Config)
	f.checkPositive("timeout", o.Timeout > 0)
	if len(f.faults) > 0 {
		return o, f.faults
	}
	return o, nil
}

// LoadBackup is like Load for the command backup. Only Data, UploadDir, Files and Broker are set.
func LoadBackup(p *Program, args, environ []string) (Config, error) {
	var c Config
	f := defineBackup(p, &c)
	if err := f.load(args, environ); err != nil {
		return c, err
	}
	f.resolve(Backup, &c)
	if c.Data == "" {
		f.fault("-data: must not be empty")
	}
	if len(f.faults) > 0 {
		return c, f.faults
	}
	return c, nil
}

// resolve sets the defaults that depend on the machine or on other flags.
func (f *flags) resolve(command Command, c *Config) {
	// GOMAXPROCS respects the CPU quota of the cgroup; NumCPU does not.
	cpus := runtime.GOMAXPROCS(0)
	if c.Single && !f.given["procs"] {
		c.Procs = 1
	}
	if c.Procs == 0 {
		c.Procs = cpus
	}
	if c.Concurrency == 0 {
		c.Concurrency = 2 * cpus
	}
	if c.Broker == "" {
		c.Broker = cmp.Or(c.Redis, SQLite)
	}
	if c.Redis != "" && !f.given["workers"] { // with a shared task store, workers may run on other machines
		c.Workers = 0
	}
	if c.UploadDir == "" && c.Data != "" {
		c.UploadDir = c.Data + "/uploads"
	}
	if !f.given["max-unfinished"] && c.MaxUpload > 0 { // enough for several uploads of the maximum size
		c.MaxUnfinished = max(c.MaxUnfinished, min(c.MaxUpload, math.MaxInt64/4)*4)
	}
	if command == Worker && !f.given["admin"] {
		c.Admin = ""
	}
	c.Queues, c.Weights = f.parseQueues(splitList(f.queue))
	c.CeleryQueues = splitList(f.celeryQueues)
	c.Origins = splitList(f.origins)
	c.CORSHeaders = splitList(f.corsHeaders)
	c.UploadTypes = splitList(strings.ToLower(f.uploadTypes))
	c.Proxies = f.parseNetworks(splitList(f.proxies))
	c.ConfigFile = f.file
	if c.Watch { // the configuration then changes with each template, so that no reload is missed
		c.Watched = filewatch.Stamp(c.Templates, c.ConfigFile, c.TasksFile)
	}
}

// splitList splits a comma-separated value and trims the spaces around its parts. Empty
// parts are ignored.
func splitList(s string) (parts []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
