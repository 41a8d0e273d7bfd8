package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// maxSlots is far beyond any machine; a larger number is a slip.
const maxSlots = 1024

// Bounds of the limits of requests. Each connection that reads a request holds a
// buffer of -max-head; each file of a form holds a descriptor until the form has
// been read.
const (
	minHead  = 1 << 10
	maxHead  = 1 << 20
	maxParts = 1_000_000
	maxFiles = 10_000
)

// minHangTimeout is the shortest -hang-timeout: a child sends four heartbeats a
// second.
const minHangTimeout = time.Second

// validate looks at every setting and notes all that is wrong.
func (f *flags) validate(command Command, c *Config, tasks []string) {
	f.checkRange("port", c.Port, 0, 65535)
	f.checkRange("procs", c.Procs, 0, maxSlots)
	f.checkRange("workers", c.Workers, 0, maxSlots)
	switch {
	case c.Single && command == Worker:
		f.fault("-single: is for serve; a worker has processes")
	case c.Single && c.Procs != 1:
		f.fault("-single: is one process, but -procs is %d", c.Procs)
	}
	f.checkRange("concurrency", c.Concurrency, 0, 100_000)
	f.checkRange("pool", c.Pool, 1, 100_000)
	f.checkRange("pool-queue", c.PoolQueue, 0, 1_000_000)
	f.checkRedisAndStatic(c)
	f.checkRange("upload-pool", c.UploadPool, 1, 100_000)
	f.checkPositive("grace", c.Grace > 0)
	f.checkPositive("ws-send-timeout", c.WSSendTimeout > 0)
	f.checkPositive("boot-timeout", c.BootTimeout > 0)
	if c.HangTimeout != 0 && c.HangTimeout < minHangTimeout {
		f.fault("-hang-timeout: %v is less than %v, within which a busy child may show no life; 0 turns it off", c.HangTimeout, minHangTimeout)
	}
	if c.MaxRequests < 0 {
		f.fault("-max-requests: must not be negative")
	}
	f.checkPositive("max-body", c.MaxBody > 0)
	if c.MaxHead < minHead || c.MaxHead > maxHead {
		f.fault("-max-head: %d is not within %d and %d bytes", c.MaxHead, minHead, maxHead)
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
	if len(c.Queues) == 0 {
		f.fault("-queue: names no queue")
	}
	for _, q := range c.Queues {
		if !jobs.ValidID(q) {
			f.fault("-queue: %q: a queue is named by letters, digits, dots, underscores and hyphens", q)
		}
	}
	f.checkBrowsers(c)
	f.checkBroker(*c)
	f.checkFolder("data", c.Data)
	f.checkFolder("upload-dir", c.UploadDir)
	f.loadToken(c)
	f.checkCertificate(c)
	f.checkAdmin(c.Admin)
	if path, ok := strings.CutPrefix(c.Admin, "unix:"); ok {
		f.checkFolder("admin", filepath.Dir(path))
	}
	if host, _, _ := net.SplitHostPort(c.Admin); c.Pprof && c.Token == "" && c.Admin != "" && !strings.HasPrefix(c.Admin, "unix:") && !loopback(host) {
		f.fault("-pprof: %q can be reached from other machines, and profiles show what is in memory: give -token-file, or another -admin", c.Admin)
	}
	if command == Serve && c.exposed(c.Host) {
		f.fault(exposedFault, "-host", c.Host)
	}
}

const exposedFault = "%s: %q can be reached from other machines, and anyone could write: give -token-file, or -open if that is meant"

// exposed reports whether anyone who reaches the host could write.
func (c Config) exposed(host string) bool { return c.Token == "" && !c.Open && !loopback(host) }

// CheckListener checks the address of a socket that somebody else has bound,
// systemd for instance: what holds for -host holds for it too. The error is of
// type Faults.
func (c Config) CheckListener(addr net.Addr) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !c.exposed(tcp.IP.String()) {
		return nil
	}
	return Faults{fmt.Sprintf(exposedFault, "socket", addr)}
}

func (f *flags) checkRange(name string, n, low, high int) {
	if n < low || n > high {
		f.fault("-%s: %d is not within %d and %d", name, n, low, high)
	}
}

func (f *flags) checkPositive(name string, ok bool) {
	if !ok {
		f.fault("-%s: must be more than zero", name)
	}
}

func (f *flags) checkOneOf(name, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.fault("-%s: %q is none of: %s", name, value, strings.Join(allowed, ", "))
	}
}

// folder checks that a folder is there and writable, or can be made, without
// making it.
func (f *flags) checkFolder(name, path string) {
	if path == "" {
		f.fault("-%s: names no folder", name)
		return
	}
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
			continue
		case err != nil:
			f.fault("-%s: %v", name, err)
		case !info.IsDir():
			f.fault("-%s: %s is not a folder", name, dir)
		case unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
			f.fault("-%s: folder %s is not writable", name, dir)
		}
		return
	}
}

// token takes the token out of its file and checks that it can be sent.
func (f *flags) loadToken(c *Config) {
	if f.tokenFile != "" {
		if c.Token != "" {
			f.fault("-token and -token-file: give one of them")
			return
		}
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			f.fault("-token-file: %v", err)
			return
		}
		if c.Token = strings.TrimSpace(string(text)); c.Token == "" {
			f.fault("-token-file: %s is empty", f.tokenFile)
		}
	}
	// RFC 6750 section 2.1: b64token. With anything else, white space and what is
	// not ASCII above all, the field of a request could not hold it, or not in a
	// way that every client writes alike.
	const other = "-._~+/="
	for _, r := range c.Token {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		digit := r >= '0' && r <= '9'
		if !letter && !digit && !strings.ContainsRune(other, r) {
			f.fault("token: only letters, digits and %s can be sent as a bearer token", other)
			return
		}
	}
}

// admin checks the address of the admin endpoint.
func (f *flags) checkAdmin(address string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok && path != "" || address == "" {
		return
	}
	_, port, err := net.SplitHostPort(address)
	if n, errPort := strconv.Atoi(port); err != nil || errPort != nil || n < 0 || n > 65535 {
		f.fault("-admin: %q is neither host:port nor unix:/path", address)
	}
}

// broker checks where tasks wait.
func (f *flags) checkBroker(c Config) {
	if c.Broker == SQLite {
		return
	}
	if err := redisdb.Check(c.Broker); err != nil {
		f.fault("-broker: neither sqlite nor an address: %v", err)
	}
}

// uploads checks what may be uploaded, and how much.
func (f *flags) checkUploads(c *Config) {
	f.checkPositive("max-upload", c.MaxUpload > 0)
	if c.MaxUnfinished < c.MaxUpload {
		f.fault("-max-unfinished: less than -max-upload, so that the largest upload could never begin")
	}
	f.checkPositive("upload-expiry", c.UploadExpiry > 0)
	for _, ending := range c.UploadTypes {
		if ending != "*" && (len(ending) < 2 || strings.LastIndexAny(ending, "./\\ ") != 0 || ending[0] != '.') {
			f.fault("-upload-types: %q is no ending of a name, such as .mp3, and not *", ending)
		}
	}
}

// sources checks where answers come from: Redis, another server, a folder.
func (f *flags) checkRedisAndStatic(c *Config) {
	if c.Redis != "" {
		if err := redisdb.Check(c.Redis); err != nil {
			f.fault("-redis: %v", err)
		}
	}
	if info, err := os.Stat(c.Static); c.Static != "" && err != nil {
		f.fault("-static: %v", err)
	} else if c.Static != "" && !info.IsDir() {
		f.fault("-static: %s is not a folder", c.Static)
	}
}

// browsers checks what pages of other origins may do, and what is in front of
// every path for them.
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

// CheckPaths checks the base path against the paths of all routes: one that begins
// like a route would make a request mean either. The error is of type Faults.
func (c Config) CheckPaths(paths []string) error {
	base, _, _ := strings.Cut(strings.TrimPrefix(c.BasePath, "/"), "/")
	for _, path := range paths {
		if first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/"); base != "" && first == base {
			return Faults{fmt.Sprintf("-base-path: %q begins like a path of the server itself, so that requests could mean either", c.BasePath)}
		}
	}
	return nil
}

// networks reads -trusted-proxies: networks, addresses, or the word loopback.
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
			f.fault("-trusted-proxies: %q is neither a network, such as 10.0.0.0/8, nor an address, nor loopback", name)
		}
	}
	return found
}

// certificate reads the pair that HTTPS needs, as every child will.
func (f *flags) checkCertificate(c *Config) {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return
	case c.TLSCert == "" || c.TLSKey == "":
		f.fault("-tls-cert and -tls-key: give both of them")
		return
	}
	if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
		f.fault("-tls-cert and -tls-key: %v", err)
	}
}

// loopback reports whether only this machine can reach an address. Names are
// not looked up: what they mean can change under a running server.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
