// Package config turns the command line, the environment and a file of flags
// into the settings of a server, and says everything that is wrong with them
// at once. It alone in Gale knows flags, variables and file names.
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
)

// DefaultAdmin is where the admin endpoint listens unless told otherwise.
const DefaultAdmin = "127.0.0.1:9888"

// SQLite is the value of -broker for the store that needs no server.
const SQLite = "sqlite"

// Config holds the settings. The master reads them once; its children get them
// as JSON, so a file that is changed later changes nothing until it is reread.
type Config struct {
	Host          string
	Port          int
	Procs         int  // serve slots; resolved, never 0
	Single        bool // all in one process
	Workers       int  // worker slots under a serving master
	Concurrency   int  // tasks at once in each worker; resolved, never 0
	Queues        []string
	Weights       []int  // of the queues; none: in their order
	Pool          int    // goroutines per child for blocking handlers
	PoolQueue     int    // how many may wait for one
	Redis         string // addresses for redisdb.Open; empty: the store slot, and then its own
	Store         Store  // the store slot, where there is one
	Static        string // folder served under /static/, or empty
	UploadPool    int    // goroutines per child for uploads
	Data          string
	Broker        string // where tasks wait: SQLite, or addresses of Redis
	UploadDir     string
	Token         string
	Open          bool
	Origins       []string       // beside the server's own, for server.ParseOrigins
	CORSHeaders   []string       // more fields that their pages may send and read
	BasePath      string         // what is in front of every path for clients, or empty
	MaxBody       int64          // bytes
	MaxHead       int64          // bytes, of a request's head and of the head of a part of a form
	MaxParts      int            // of a form
	MaxFiles      int            // of them, those that are files
	MaxField      int64          // bytes of a text field of a form
	MaxUpload     int64          // bytes
	MaxUnfinished int64          // bytes, of all resumable uploads that are under way
	UploadExpiry  time.Duration  // how long one of them is kept after its last byte
	MaxConns      int            // per child; 0 is no limit
	MaxPerClient  int            // connections per child and client address; 0 is no limit
	Proxies       []netip.Prefix // whose word about a client is believed
	AccessLog     int            // one request in so many is logged; 0 is none
	TLSCert       string         // file, or empty for plain HTTP
	TLSKey        string
	OnUpload      string
	UploadTypes   []string       // endings with their dot, in lower case, or *
	TasksFile     string         // of command tasks, or empty
	Commands      []command.Spec // what it holds
	Path          string         // the variable PATH, by which commands are found
	WSCompress    bool
	// WSSendTimeout is how long a long-lived connection may make no room.
	WSSendTimeout time.Duration
	Grace         time.Duration
	BootTimeout   time.Duration
	HangTimeout   time.Duration // 0: off
	MaxRequests   int64         // 0: off
	MaxRSS        int64         // bytes; 0: off
	Admin         string        // host:port, unix:/path, or empty for none
	Pprof         bool          // profiles there without a token
	LogFormat     string
	LogLevel      string
	// Own are the application's own flags that were given, in the order in which they
	// were set.
	Own []Setting
}

// Address is what the server listens on.
func (c Config) Address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// Scheme is https where there is a certificate, else http.
func (c Config) Scheme() string {
	if c.TLSCert != "" {
		return "https"
	}
	return "http"
}

// Warnings are what works, but perhaps not as it is meant, a line each.
func (c Config) Warnings() (all []string) {
	// A subprotocol is a token (RFC 6455 §4.1, RFC 9110 §5.6.2), which holds all
	// that validate lets through but these two.
	if strings.ContainsAny(c.Token, "/=") {
		all = append(all, "token: browsers cannot send it with a WebSocket as the subprotocol bearer.<token>, because it holds / or =; "+
			"they must send bearer64.<token in base64url without padding>")
	}
	return all
}

// Faults are all that is wrong with a configuration, a line each.
type Faults []string //nolint:errname // several, and not only an error: check lists them

// Error lists the faults, one a line.
func (f Faults) Error() string {
	if len(f) == 1 {
		return "configuration: " + f[0]
	}
	return fmt.Sprintf("configuration: %d faults\n  %s", len(f), strings.Join(f, "\n  "))
}

// ExitCode is what the process ends with: 2, as for the flag package.
func (Faults) ExitCode() int { return 2 }

// ErrHelp is what Load returns when the arguments ask for help.
var ErrHelp = flag.ErrHelp

// Command is the verb that a configuration is for.
type Command string

// The commands that take flags.
const (
	Serve  Command = "serve"
	Worker Command = "worker"
	Status Command = "status"
)

// Load reads the settings for a command: a flag wins over the variable
// GALE_NAME, that over the file that -config names, that over the default. The
// flags of the program itself are set, too. The error is ErrHelp if help was asked
// for, else of type Faults.
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

// MaxSize is the largest configuration in bytes of JSON, which is how children get
// it: long values and large tasks files add up.
const MaxSize = 128 << 10

// size checks that the configuration can be handed to children.
func (f *flags) checkSize(c Config) {
	if text, err := json.Marshal(c); err != nil {
		f.fault("configuration: %v", err)
	} else if len(text) > MaxSize {
		f.fault("configuration: %d bytes with the tasks file and all values are more than %d, which is what processes can be given; "+
			"put long values into files", len(text), MaxSize)
	}
}

// ForStateServer returns what the embedded state server needs: no token, no flags of
// the application, no tasks.
func (c Config) ForStateServer() Config {
	return Config{Store: c.Store, Grace: c.Grace, Admin: c.Admin, LogFormat: c.LogFormat, LogLevel: c.LogLevel}
}

// StatusOptions are the settings of the command status.
type StatusOptions struct {
	Admin string // address of the endpoint to ask
	JSON  bool
	Ready bool // say only whether the server is ready
}

// LoadStatus reads the settings of the command status, as Load does.
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

// resolve fills in the defaults that depend on the machine or on other flags.
func (f *flags) resolve(command Command, c *Config) {
	// GOMAXPROCS, not NumCPU: it knows the CPU quota of the cgroup.
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
	if c.Redis != "" && !f.given["workers"] { // they run where they are wanted, on any machine
		c.Workers = 0
	}
	if c.UploadDir == "" && c.Data != "" {
		c.UploadDir = c.Data + "/uploads"
	}
	if !f.given["max-unfinished"] && c.MaxUpload > 0 { // room for several of the largest
		c.MaxUnfinished = max(c.MaxUnfinished, min(c.MaxUpload, math.MaxInt64/4)*4)
	}
	if command == Worker && !f.given["admin"] {
		c.Admin = ""
	}
	c.Queues, c.Weights = f.parseQueues(splitList(f.queue))
	c.Origins = splitList(f.origins)
	c.CORSHeaders = splitList(f.corsHeaders)
	c.UploadTypes = splitList(strings.ToLower(f.uploadTypes))
	c.Proxies = f.parseNetworks(splitList(f.proxies))
}

// list splits a comma separated value; spaces around its parts do not count.
func splitList(s string) (parts []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
