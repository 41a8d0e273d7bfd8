package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var program = &Program{Tasks: []string{"inspect", "long_running_task"}, OnUpload: "inspect"}

func TestDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	c, err := Load(Serve, program, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Address() != "127.0.0.1:8888" || c.Procs != runtime.GOMAXPROCS(0) || c.Workers != 1 ||
		c.Concurrency != 2*runtime.GOMAXPROCS(0) || !slices.Equal(c.Queues, []string{"default"}) || c.UploadPool != 5 ||
		c.Data != "data" || c.UploadDir != "data/uploads" || c.MaxBody != 1<<20 || c.MaxUpload != 1<<30 ||
		c.OnUpload != "inspect" || c.Grace != 30*time.Second || c.Admin != "127.0.0.1:9888" || c.LogFormat != "text" {
		t.Errorf("%+v", c)
	}
	if _, err := os.Stat("data"); err == nil {
		t.Error("Load created the data folder")
	}
	if c, err = Load(Worker, program, nil, nil); err != nil || c.Admin != "" {
		t.Errorf("server worker: admin %q, %v; want none", c.Admin, err)
	}
	if c, err = Load(Worker, program, []string{"-admin", "127.0.0.1:1"}, nil); err != nil || c.Admin != "127.0.0.1:1" {
		t.Errorf("server worker -admin: %q, %v", c.Admin, err)
	}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := filepath.Join(dir, "gale.conf")
	text := "# a comment\nport 1001\nprocs 3\nworkers 4\nopen\nmax-upload 2GiB\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"GALE_PORT=1002", "GALE_PROCS=5", "GALE_SOMETHING_ELSE=x", "HOME=/"}
	for _, given := range []struct{ args, environ []string }{
		{[]string{"-config", file, "--port=1003"}, environ},
		{[]string{"-port", "1003"}, append(environ, "GALE_CONFIG="+file)},
	} {
		c, err := Load(Serve, program, given.args, given.environ)
		if err != nil {
			t.Fatal(err)
		}
		if c.Port != 1003 || c.Procs != 5 || c.Workers != 4 || !c.Open || c.MaxUpload != 2<<30 {
			t.Errorf("%+v; want flag, then environment, then file", c)
		}
	}
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("conf", []byte("grace never\nnonsense 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("empty", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Serve, program, []string{
		"-port", "99999", "-nope", "x", "-procs", "-1", "-max-body", "lots", "-log-format", "xml",
		"-on-upload", "explode", "-upload-types", ".ok,mp3", "-queue", "a b", "-data", "empty/data", "-token-file", "empty",
		"-host", "0.0.0.0", "-config", "conf", "-origins", "example.com", "-admin", "here", "-broker", "redis://user:s3cret@host:port", "stray",
		"-trusted-proxies", "10.0.0.0/8,proxy.example", "-tls-cert", "empty", "-max-unfinished", "1MiB", "-upload-expiry", "-1s",
	}, []string{"GALE_CONCURRENCY=many"})
	faults, ok := errors.AsType[Faults](err)
	if !ok || faults.ExitCode() != 2 {
		t.Fatalf("got %v; want Faults", err)
	}
	for _, want := range []string{
		"-port: 99999", "unknown flag -nope", "-procs: -1", `-max-body: "lots"`, `-log-format: "xml"`,
		`-on-upload: "explode" is not one of: inspect, long_running_task`, `-upload-types: "mp3" is not an ending`, `-queue: "a b"`, "-data: ", "-token-file: empty is empty",
		`-host: "0.0.0.0" can be reached from other machines`, `conf: grace: "never"`, "conf: nonsense: unknown flag",
		"-origins: ", "-admin: ", "-broker: ", `-trusted-proxies: "proxy.example"`, "-tls-cert and -tls-key: give both",
		"-max-unfinished: is less than -max-upload", "-upload-expiry: must be greater than zero", `unexpected argument "stray"`, `GALE_CONCURRENCY: "many"`,
	} {
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, want) }) {
			t.Errorf("no fault %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a fault contains a password:\n%v", err)
	}
}

// An empty value is a fault and does not mean the default, especially for -token.
func TestEmptyValuesAreFaults(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range []string{"-token=", "-token-file=", "-tls-cert=", "-tls-key=", "-upload-dir=", "-broker=", "-config="} {
		if _, err := Load(Serve, program, []string{args}, nil); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(args, "=")+": is empty") {
			t.Errorf("%s: %v", args, err)
		}
	}
	if _, err := Load(Serve, program, nil, []string{"GALE_TOKEN="}); err == nil || !strings.Contains(err.Error(), "GALE_TOKEN: is empty") {
		t.Errorf("GALE_TOKEN=: %v", err)
	}
	for _, args := range []string{"-pool=0", "-upload-pool=0", "-max-body=0", "-max-upload=0", "-grace=0", "-boot-timeout=0", "-ws-send-timeout=0", "-upload-expiry=0", "-max-conns=0", "-max-unfinished=0", "-queue=a=0"} {
		name, _, _ := strings.Cut(args, "=")
		if _, err := Load(Serve, program, []string{args}, nil); err == nil || !strings.Contains(err.Error(), name+":") {
			t.Errorf("%s: %v", args, err)
		}
	}
	c, err := Load(Serve, program, []string{"-pool-queue=0", "-workers=0", "-hang-timeout=0", "-port=0", "-redis=redis://h"}, nil)
	if err != nil || c.PoolQueue != 0 || c.Workers != 0 || c.HangTimeout != 0 || c.Port != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestPublicAddressNeedsATokenOrOpen(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args string
		ok   bool
	}{
		{"-host 127.0.0.1", true}, {"-host ::1", true}, {"-host localhost", true}, {"-host 127.9.9.9", true},
		{"-host 0.0.0.0", false}, {"-host ::", false}, {"-host 192.0.2.1", false}, {"-host example.com", false},
		{"-host 0.0.0.0 -open", true}, {"-host 0.0.0.0 -token secret", true},
	} {
		_, err := Load(Serve, program, strings.Fields(c.args), nil)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.args, err)
		}
	}
	if _, err := Load(Serve, program, []string{"-host", ""}, nil); err == nil {
		t.Error("an empty host, all addresses, is accepted without a token")
	}
	if _, err := Load(Worker, program, []string{"-host", "0.0.0.0"}, nil); err != nil {
		t.Errorf("a worker listens on nothing: %v", err)
	}
}

func TestFiles(t *testing.T) {
	address := "s3://bucket/prefix?endpoint=http://127.0.0.1:9000"
	if c, err := Load(Worker, program, []string{"-files", address}, nil); err != nil || c.Files != address || c.UploadDir != "data/uploads" {
		t.Errorf("%q %q, %v", c.Files, c.UploadDir, err)
	}
	for args, ok := range map[string]bool{"5m": true, "168h": true, "0": true, "169h": false, "10ms": false, "-1s": false} {
		if _, err := Load(Serve, program, []string{"-files", address, "-files-redirect", args}, nil); (err == nil) != ok {
			t.Errorf("-files-redirect %s: %v", args, err)
		}
	}
	if _, err := Load(Serve, program, []string{"-files-redirect", "5m"}, nil); err == nil || !strings.Contains(err.Error(), "needs -files") {
		t.Errorf("-files-redirect without -files: %v", err)
	}
	for _, address := range []string{"", "/var/files", "s3://bucket", "s3://id:s3cret@bucket?region=x", "s3://bucket?endpoint=http://id:s3cret@host"} {
		_, err := Load(Serve, program, []string{"-files", address}, nil)
		if faults, ok := errors.AsType[Faults](err); !ok || len(faults) != 1 || !strings.HasPrefix(faults[0], "-files: ") || strings.Contains(faults[0], "s3cret") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestToken(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("token", []byte("  s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(Serve, program, []string{"-token-file", "token"}, nil); err != nil || c.Token != "s3cret" {
		t.Errorf("%q, %v", c.Token, err)
	}
	for _, args := range []string{"-token-file token -token x", "-token-file gone", "-token a,b"} {
		if _, err := Load(Serve, program, strings.Fields(args), nil); err == nil {
			t.Errorf("%s: accepted", args)
		}
	}
	for _, token := range []string{"two words", "tab\tinside", "line\nend", "sch\u00f6n", "nul\x00", "\x7f"} {
		_, err := Load(Serve, program, []string{"-token", token}, nil)
		if faults, ok := errors.AsType[Faults](err); !ok || len(faults) != 1 || !strings.Contains(faults[0], "be sent as a bearer token") {
			t.Errorf("%q: %v", token, err)
		}
		if strings.Contains(fmt.Sprint(err), token) {
			t.Errorf("%q is shown: %v", token, err)
		}
	}
}

// A token that is not valid as a subprotocol gets a warning: browsers must send it as
// bearer64.
func TestTokenThatIsNoSubprotocol(t *testing.T) {
	for token, warned := range map[string]bool{
		"s3cret": false, "a-._~+Z0": false, "a/b": true, "YS9iKz0=": true, "==": true,
	} {
		c, err := Load(Serve, program, []string{"-token", token}, nil)
		if err != nil {
			t.Fatalf("%s: %v", token, err)
		}
		warnings := c.Warnings()
		if (len(warnings) == 1 && strings.Contains(warnings[0], "bearer64.")) != warned || !warned && len(warnings) > 0 {
			t.Errorf("%q: %q", token, warnings)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"-h", "--help"} {
		if _, err := Load(Serve, program, []string{"-port", "x", arg}, nil); !errors.Is(err, ErrHelp) {
			t.Errorf("%s: %v", arg, err)
		}
	}
	for command, want := range map[Command]string{Serve: "-upload-pool", Worker: "-queue", Status: "-json"} {
		var b strings.Builder
		program.Usage(&b, command)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: no %s in\n%s", command, want, &b)
		}
	}
}

func TestTrustedProxies(t *testing.T) {
	t.Chdir(t.TempDir())
	for value, want := range map[string]string{
		"loopback":                       "[127.0.0.0/8 ::1/128]",
		"":                               "[]",
		"10.1.2.3/8, 192.0.2.1, fd00::1": "[10.0.0.0/8 192.0.2.1/32 fd00::1/128]",
		"::ffff:192.0.2.1":               "[192.0.2.1/32]",
	} {
		c, err := Load(Serve, program, []string{"-trusted-proxies", value}, nil)
		if err != nil || fmt.Sprint(c.Proxies) != want {
			t.Errorf("%q: %v, %v; want %s", value, c.Proxies, err, want)
		}
	}
	c, err := Load(Serve, program, nil, nil)
	if err != nil || len(c.Proxies) != 2 {
		t.Errorf("by default: %v, %v", c.Proxies, err)
	}
	// Children get the same networks.
	data, err := json.Marshal(c)
	var again Config
	if err != nil || json.Unmarshal(data, &again) != nil || !slices.Equal(again.Proxies, c.Proxies) {
		t.Errorf("%s: %v, %v", data, again.Proxies, err)
	}
}

func TestCountsAndSampling(t *testing.T) {
	t.Chdir(t.TempDir())
	for value, want := range map[string]int{"off": 0, "all": 1, "1 in 100": 100, "50": 50} {
		c, err := Load(Serve, program, []string{"-access-log", value, "-max-conns", "7"}, nil)
		if err != nil || c.AccessLog != want || c.MaxConns != 7 || c.MaxPerClient != 0 {
			t.Errorf("%q: %d, %d, %v", value, c.AccessLog, c.MaxConns, err)
		}
		if text := (sampling{&want}).String(); (sampling{&want}).Set(text) != nil {
			t.Errorf("cannot read back %q", text)
		}
	}
	for _, args := range []string{"-access-log sometimes", "-access-log 0", "-access-log -3", "-max-conns 0", "-max-conns -1", "-max-conns all", "-max-conns-per-client x"} {
		if _, err := Load(Serve, program, strings.Fields(args), nil); err == nil {
			t.Errorf("%s is accepted", args)
		}
	}
}

func TestCompressionAndSlowRequests(t *testing.T) {
	t.Chdir(t.TempDir())
	c, err := Load(Serve, program, nil, nil)
	if err != nil || c.Compress || c.CompressLevel != 4 || c.SlowRequest != 0 {
		t.Errorf("defaults: %v, %d, %v, %v", c.Compress, c.CompressLevel, c.SlowRequest, err)
	}
	c, err = Load(Serve, program, []string{"-compress", "-compress-level", "9", "-slow-request", "1s"}, nil)
	if err != nil || !c.Compress || c.CompressLevel != 9 || c.SlowRequest != time.Second {
		t.Errorf("%v, %d, %v, %v", c.Compress, c.CompressLevel, c.SlowRequest, err)
	}
	for args, want := range map[string]string{
		"-compress-level 0": "-compress-level: 0 is not between 1 and 9", "-compress-level 10": "-compress-level: 10 is not between 1 and 9",
		"-slow-request -1s": "-slow-request: must not be negative", "-slow-request 5": "-slow-request", "-compress=gzip": "-compress",
	} {
		if _, err := Load(Serve, program, strings.Fields(args), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "1024": 1024, "1KiB": 1 << 10, "3MiB": 3 << 20, "2GiB": 2 << 30, "8 KiB": 8 << 10,
	} {
		var n int64
		if err := newSize(&n, 7).Set(text); err != nil || n != want {
			t.Errorf("%q: %d, %v; want %d", text, n, err, want)
		}
		var again int64
		if err := newSize(&again, 0).Set(size{&n}.String()); err != nil || again != n {
			t.Errorf("%d prints as %q, which reads as %d", n, size{&n}, again)
		}
	}
	for _, text := range []string{"", "-1", "1KB", "1.5MiB", "GiB", "9999999999GiB", "1e3"} {
		var n int64
		if err := newSize(&n, 7).Set(text); err == nil || n != 7 {
			t.Errorf("%q: %d, %v; want an error and no change", text, n, err)
		}
	}
}

func TestStatusOptions(t *testing.T) {
	o, err := LoadStatus(program, []string{"-json"}, []string{"GALE_ADMIN=unix:/run/gale.sock"})
	if err != nil || !o.JSON || o.Admin != "unix:/run/gale.sock" {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := LoadStatus(program, []string{"-admin", "nowhere"}, nil); err == nil {
		t.Error("accepted an address that is none")
	}
}

// With -redis, the task store is in Redis, and the default of -workers is 0.
func TestTaskStoreAndWorkers(t *testing.T) {
	for args, want := range map[string]struct {
		broker  string
		workers int
	}{
		"":                                   {SQLite, 1},
		"-redis redis://a":                   {"redis://a", 0},
		"-redis redis://a -workers 2":        {"redis://a", 2},
		"-redis redis://a -broker sqlite":    {SQLite, 0},
		"-redis redis://a -broker redis://b": {"redis://b", 0},
		"-broker redis://b":                  {"redis://b", 1},
	} {
		c, err := Load(Serve, program, strings.Fields(args), nil)
		if err != nil || c.Broker != want.broker || c.Workers != want.workers {
			t.Errorf("%q: broker %s, %d workers, %v; want %+v", args, c.Broker, c.Workers, err, want)
		}
	}
}

// -single works with serve only, and with one process.
func TestSingle(t *testing.T) {
	c, err := Load(Serve, program, []string{"-single"}, nil)
	if err != nil || !c.Single || c.Procs != 1 {
		t.Errorf("%v, %d processes, %v", c.Single, c.Procs, err)
	}
	if _, err := Load(Serve, program, []string{"-single", "-procs", "2"}, nil); err == nil || !strings.Contains(err.Error(), "-single: runs one process, but -procs is 2") {
		t.Errorf("two processes: %v", err)
	}
	if _, err := Load(Worker, program, []string{"-single"}, nil); err == nil || !strings.Contains(err.Error(), "-single: cannot be used with worker") {
		t.Errorf("a worker: %v", err)
	}
}
