package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/celery"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/uploads/s3"
)

// maxSlots is the largest value of -procs and -workers. A larger number is most likely
// a typing error.
const maxSlots = 1024

// Bounds of the request limits. Each connection that reads a request needs a buffer of
// -max-head bytes. Each file of a form needs a file descriptor until the form has been
// read.
const (
	minHead  = 1 << 10
	maxHead  = 1 << 20
	maxParts = 1_000_000
	maxFiles = 10_000
)

// maxFilesRedirect is the longest time for which S3 accepts a signed URL.
const maxFilesRedirect = 7 * 24 * time.Hour

// minHangTimeout is the smallest value of -hang-timeout. A child sends four heartbeats
// per second.
const minHangTimeout = time.Second

// validate adds a fault for each setting that is not valid. tasks are the names of all
// tasks.
func (f *flags) validate(command Command, c *Config, tasks []string) {
	f.checkRange("port", c.Port, 0, 65535)
	f.checkRange("procs", c.Procs, 0, maxSlots)
	f.checkRange("workers", c.Workers, 0, maxSlots)
	f.checkSingleAndWatch(command, c)
	f.checkRange("concurrency", c.Concurrency, 0, 100_000)
	f.checkRange("pool", c.Pool, 1, 100_000)
	f.checkRange("pool-queue", c.PoolQueue, 0, 1_000_000)
	f.checkRedisAndStatic(c)
	f.checkRange("upload-pool", c.UploadPool, 1, 100_000)
	f.checkPositive("grace", c.Grace > 0)
	f.checkPositive("ws-send-timeout", c.WSSendTimeout > 0)
	f.checkPositive("boot-timeout", c.BootTimeout > 0)
	if c.HangTimeout != 0 && c.HangTimeout < minHangTimeout {
		f.fault("-hang-timeout: %v is less than %v; a busy process may send no heartbeat for that long; 0 is off", c.HangTimeout, minHangTimeout)
	}
	if c.MaxRequests < 0 {
		f.fault("-max-requests: must not be negative")
	}
	if c.SlowRequest < 0 {
		f.fault("-slow-request: must not be negative; 0 is off")
	}
	f.checkTrace(c)
	f.checkRange("compress-level", c.CompressLevel, 1, 9)
	f.checkPositive("max-body", c.MaxBody > 0)
	if c.MaxHead < minHead || c.MaxHead > maxHead {
		f.fault("-max-head: %d is not between %d and %d bytes", c.MaxHead, minHead, maxHead)
	}
	f.checkRange("max-parts", c.MaxParts, 1, maxParts)
	f.checkRange("max-files", c.MaxFiles, 1, maxFiles)
	f.checkPositive("max-field", c.MaxField > 0)
	f.checkUploads(c)
	f.checkOneOf("log-format", c.LogFormat, "text", "json")
	f.checkOneOf("log-level", c.LogLevel, "debug", "info", "warn", "error")
	if c.OnUpload != "" {
		f.checkOneOf("on-upload", c.OnUpload, tasks...)
	}
	f.checkDecisions(command, c, tasks)
	f.checkQueues(c.Queues)
	f.checkPrograms(c)
	f.checkBrowsers(c)
	f.checkBroker(command, *c)
	f.checkFolder("data", c.Data)
	f.checkFolder("upload-dir", c.UploadDir)
	f.loadToken(c)
	f.checkCertificate(c)
	f.checkAdmin(c.Admin)
	if path, ok := strings.CutPrefix(c.Admin, "unix:"); ok {
		f.checkFolder("admin", filepath.Dir(path))
	}
	if host, _, _ := net.SplitHostPort(c.Admin); c.Pprof && c.Token == "" && c.Admin != "" && !strings.HasPrefix(c.Admin, "unix:") && !loopback(host) {
		f.fault("-pprof: %q can be reached from other machines, and profiles show the content of the memory: set -token-file, or a loopback address in -admin", c.Admin)
	}
	if command == Serve && c.exposed(c.Host) {
		f.fault(exposedFault, "-host", c.Host)
	}
}

func (f *flags) checkQueues(queues []string) {
	if len(queues) == 0 {
		f.fault("-queue: is empty; give at least one queue")
	}
	for _, q := range queues {
		if !jobs.ValidID(q) {
			f.fault("-queue: %q: the name of a queue must consist of letters, digits, dots, underscores and hyphens", q)
		}
	}
}

// checkSingleAndWatch checks the flags that change how the processes run.
func (f *flags) checkSingleAndWatch(command Command, c *Config) {
	switch {
	case c.Single && command == Worker:
		f.fault("-single: cannot be used with worker")
	case c.Single && c.Procs != 1:
		f.fault("-single: runs one process, but -procs is %d", c.Procs)
	}
	switch {
	case c.Watch && command == Worker:
		f.fault("-watch: cannot be used with worker")
	case c.Watch && c.Single:
		f.fault("-watch: cannot be used with -single, which has no second process to try a change in")
	}
}

const exposedFault = "%s: %q can be reached from other machines, which could then write without a token: set -token-file, or -open to allow it"

// exposed reports whether other machines can write without a token.
func (c Config) exposed(host string) bool { return c.Token == "" && !c.Open && !loopback(host) }

// CheckListener checks the address of a listener that another process has opened, such
// as systemd, by the rule for -host. Its error is of type Faults.
func (c Config) CheckListener(addr net.Addr) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !c.exposed(tcp.IP.String()) {
		return nil
	}
	return Faults{fmt.Sprintf(exposedFault, "socket", addr)}
}

func (f *flags) checkRange(name string, n, low, high int) {
	if n < low || n > high {
		f.fault("-%s: %d is not between %d and %d", name, n, low, high)
	}
}

func (f *flags) checkPositive(name string, ok bool) {
	if !ok {
		f.fault("-%s: must be greater than zero", name)
	}
}

func (f *flags) checkOneOf(name, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.fault("-%s: %q is not one of: %s", name, value, strings.Join(allowed, ", "))
	}
}

// checkAdmin checks the address of the admin endpoint.
func (f *flags) checkAdmin(address string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok && path != "" || address == "" {
		return
	}
	_, port, err := net.SplitHostPort(address)
	if n, errPort := strconv.Atoi(port); err != nil || errPort != nil || n < 0 || n > 65535 {
		f.fault("-admin: %q is neither host:port nor unix:/path", address)
	}
}

// checkBroker checks the addresses of the task store and of Celery.
func (f *flags) checkBroker(command Command, c Config) {
	f.checkStore(c)
	f.checkCelery(command, c)
}

// checkStore checks the address of the task store.
func (f *flags) checkStore(c Config) {
	if c.Broker == SQLite {
		return
	}
	if err := redisdb.Check(c.Broker); err != nil {
		f.fault("-broker: neither sqlite nor an address of Redis: %v", err)
	}
}

// checkUploads checks the limits on uploads.
func (f *flags) checkUploads(c *Config) {
	if c.Files != "" {
		if _, err := s3.Parse(c.Files); err != nil {
			f.fault("-files: %v", err)
		}
	}
	switch {
	case c.FilesRedirect == 0:
	case c.Files == "":
		f.fault("-files-redirect: needs -files")
	case c.FilesRedirect < time.Second || c.FilesRedirect > maxFilesRedirect:
		f.fault("-files-redirect: %v is not between 1s and %v", c.FilesRedirect, maxFilesRedirect)
	}
	f.checkPositive("max-upload", c.MaxUpload > 0)
	if c.MaxUnfinished < c.MaxUpload {
		f.fault("-max-unfinished: is less than -max-upload, so an upload of the maximum size could never start")
	}
	f.checkPositive("upload-expiry", c.UploadExpiry > 0)
	for _, ending := range c.UploadTypes {
		if ending != "*" && (len(ending) < 2 || strings.LastIndexAny(ending, "./\\ ") != 0 || ending[0] != '.') {
			f.fault("-upload-types: %q is not an ending of a filename, such as .mp3, or *", ending)
		}
	}
}

// checkCelery checks the flags of messages from Celery clients.
func (f *flags) checkCelery(command Command, c Config) {
	if c.Celery == "" {
		for _, name := range []string{"celery-queues", "celery-results", "celery-prefix"} {
			if f.given[name] {
				f.fault("-%s: needs -celery", name)
			}
		}
		return
	}
	if err := celery.Check(c.Celery); err != nil {
		f.fault("-celery: %v", err)
	}
	if c.CeleryResults != "" {
		if err := celery.Check(c.CeleryResults); err != nil {
			f.fault("-celery-results: %v", err)
		}
	}
	if len(c.CeleryQueues) == 0 {
		f.fault("-celery-queues: is empty; give at least one queue")
	}
	for _, q := range c.CeleryQueues {
		if !jobs.ValidID(q) {
			f.fault("-celery-queues: %q: the name of a queue must consist of letters, digits, dots, underscores and hyphens", q)
		}
	}
	if command == Serve && c.Workers == 0 && !c.Single {
		f.fault("-celery: the workers take the messages, and there are none: set -workers, or set -celery for server worker")
	}
}

// checkRedisAndStatic checks the addresses of -redis, the keys of cookies, and the folders of
// -static and -templates.
func (f *flags) checkRedisAndStatic(c *Config) {
	if c.Redis != "" {
		if err := redisdb.Check(c.Redis); err != nil {
			f.fault("-redis: %v", err)
		}
	}
	if c.CookieKeyFile != "" {
		if _, err := cookie.ReadKeys(c.CookieKeyFile); err != nil {
			f.fault("-cookie-key-file: %v", err)
		}
	}
	f.checkReadable("static", c.Static)
	f.checkReadable("templates", c.Templates)
}

// checkBrowsers checks the settings for pages of other origins, and the base path.
func (f *flags) checkBrowsers(c *Config) {
	for _, origin := range c.Origins {
		if _, err := server.ParseOrigins([]string{origin}); err != nil {
			f.fault("-origins: %v", err)
		}
	}
	for _, name := range c.CORSHeaders {
		if !server.ValidField(name) {
			f.fault("-cors-headers: %q is not the name of a header field", name)
		}
	}
	if c.BasePath == "" {
		return
	}
	if err := server.CheckBasePath(c.BasePath); err != nil {
		f.fault("-base-path: %q %v", c.BasePath, err)
	}
}

// CheckPaths checks that the base path does not begin like the path of a route: a request
// could then mean either. Its error is of type Faults.
func (c Config) CheckPaths(paths []string) error {
	base, _, _ := strings.Cut(strings.TrimPrefix(c.BasePath, "/"), "/")
	for _, path := range paths {
		if first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/"); base != "" && first == base {
			return Faults{fmt.Sprintf("-base-path: %q begins like the path of a route, so requests would be ambiguous; choose another path", c.BasePath)}
		}
	}
	return nil
}

// parseNetworks parses -trusted-proxies: networks, addresses, or the word loopback.
func (f *flags) parseNetworks(names []string) (found []netip.Prefix) {
	for _, name := range names {
		prefix, err := netip.ParsePrefix(name)
		addr, errAddr := netip.ParseAddr(name)
		switch {
		case name == "loopback":
			found = append(found, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
		case err == nil:
			found = append(found, prefix.Masked())
		case errAddr == nil && addr.Zone() == "":
			addr = addr.Unmap()
			found = append(found, netip.PrefixFrom(addr, addr.BitLen()))
		default:
			f.fault("-trusted-proxies: %q is not a network such as 10.0.0.0/8, an address, or loopback", name)
		}
	}
	return found
}

// loopback reports whether host is a loopback address or localhost. Other names are not
// resolved, because their addresses can change while the server runs.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
