package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/debugbundle"
)

// maxPart is the largest size of a part of a debug bundle, in bytes.
const maxPart = 64 << 20

// debugCommand runs the command "debug bundle". It requests the parts of the archive from
// the admin endpoint. What does not respond is noted in the archive.
func debugCommand(ctx context.Context, e env) error {
	usage := usageError(e.app.command() + " debug: invalid arguments: give bundle FILE [flags], where FILE is a new file, or - for the standard output")
	if len(e.args) < 2 || e.args[0] != "bundle" || e.args[1] != "-" && strings.HasPrefix(e.args[1], "-") {
		if len(e.args) > 0 && (e.args[len(e.args)-1] == "-h" || e.args[len(e.args)-1] == "-help") {
			return config.ErrHelp
		}
		return usage
	}
	o, err := config.LoadDebug(e.program, e.args[2:], e.environ)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := newBundleClient(o)
	first, status, err := c.status(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	folder := e.app.command() + "-debug-" + now.UTC().Format("20060102-150405")
	write := func(w io.Writer) (parts []debugbundle.Part, err error) {
		parts = append([]debugbundle.Part{first}, c.collect(ctx, status)...)
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		head := fmt.Sprintf("%s, pid %d, at %s, %s", status.Version, status.PID, o.Admin, now.UTC().Format(time.RFC3339))
		return parts, debugbundle.Write(w, folder, now, append([]debugbundle.Part{debugbundle.Contents(head, parts)}, parts...))
	}
	return writeBundle(e, e.args[1], write)
}

// writeBundle writes an archive to a new file that only its owner can read, or to the
// standard output if name is "-". If that fails, there is no file.
func writeBundle(e env, name string, write func(io.Writer) ([]debugbundle.Part, error)) (err error) {
	out, report := e.stdout, e.stderr
	if name != "-" {
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("create the archive: %w", err)
		}
		defer func() {
			if err = errors.Join(err, file.Close()); err != nil {
				_ = os.Remove(name)
			}
		}()
		out, report = file, e.stdout
	}
	parts, err := write(out)
	if err != nil {
		return fmt.Errorf("no archive was made: %w", err)
	}
	missing := 0
	for _, p := range parts {
		if p.Err != nil {
			missing++
			_, _ = fmt.Fprintf(e.stderr, "warning: not in the archive: %s: %v\n", p.Name, p.Err)
		}
	}
	_, err = fmt.Fprintf(report, "%s: %d files, %d missing; secrets are removed, but read log.txt and config.json before you publish it\n", name, len(parts)+1-missing, missing)
	return err
}

// bundleClient requests the parts of a debug bundle from the admin endpoint.
type bundleClient struct {
	options config.DebugOptions
	client  *http.Client
	host    string
}

func newBundleClient(o config.DebugOptions) *bundleClient {
	return &bundleClient{o, adminClient(o.Admin), adminHost(o.Admin)}
}

// status requests the first part. Without it, there is no archive.
func (c *bundleClient) status(ctx context.Context) (part debugbundle.Part, status statusResponse, err error) {
	part = c.text(ctx, "status.json")
	refused, responded := errors.AsType[refusedError](part.Err)
	switch {
	case part.Err != nil && !responded:
		return part, status, fmt.Errorf("no server responds on %s: %w; check -admin", c.options.Admin, part.Err)
	case responded && refused.code != http.StatusNotFound:
		return part, status, fmt.Errorf("%s refused: %w", c.options.Admin, part.Err)
	case responded, json.Unmarshal(part.Text, &status) != nil, status.Version == "":
		return part, status, fmt.Errorf("%s is not the admin endpoint of a server, or that is of an older release; check -admin", c.options.Admin)
	}
	return part, status, nil
}

// collect requests all other parts. The processes are profiled at the same time.
func (c *bundleClient) collect(ctx context.Context, status statusResponse) (parts []debugbundle.Part) {
	names := []string{"master"}
	for _, s := range status.Slots {
		if s.PID != status.PID { // with -single, all slots are this process
			names = append(names, s.Slot)
		}
	}
	profiles := make([][]debugbundle.Part, len(names))
	var requests sync.WaitGroup
	for i, name := range names {
		requests.Go(func() { profiles[i] = c.profiles(ctx, name) }) // ends with its timeouts
	}
	for _, name := range []string{"config.json", "check.txt", "metrics.txt", "system.txt", "build.txt", "log.txt"} {
		parts = append(parts, c.text(ctx, name))
	}
	requests.Wait()
	for _, of := range profiles {
		parts = append(parts, of...)
	}
	return parts
}

func (c *bundleClient) text(ctx context.Context, name string) debugbundle.Part {
	return c.get(ctx, name, name, c.options.Timeout)
}

// profiles requests the profiles of a process. The CPU profile comes last: the rest show
// what the process did when the command started. A process that does not respond is not
// asked again.
func (c *bundleClient) profiles(ctx context.Context, slot string) []debugbundle.Part {
	path := "profiles/" + url.PathEscape(slot) + "/"
	parts := []debugbundle.Part{c.get(ctx, "profiles/"+slot+"/goroutines.txt", path+"goroutine?debug=2", c.options.Timeout)}
	more := []struct {
		name, query string
		timeout     time.Duration
	}{{"heap.pprof", "heap", c.options.Timeout}}
	if d := c.options.CPUProfile; d > 0 {
		more = append(more, struct {
			name, query string
			timeout     time.Duration
		}{"cpu.pprof", fmt.Sprintf("profile?seconds=%d", int(d.Seconds())), d + c.options.Timeout})
	}
	for _, m := range more {
		name := "profiles/" + slot + "/" + m.name
		if last := parts[len(parts)-1]; last.Err != nil {
			parts = append(parts, debugbundle.Part{Name: name, Err: last.Err})
			continue
		}
		parts = append(parts, c.get(ctx, name, path+m.query, m.timeout))
	}
	return parts
}

// refusedError is the reason why the admin endpoint refused a request.
type refusedError struct {
	code   int
	reason string
}

func (r refusedError) Error() string { return r.reason }

// get requests a part of the archive.
func (c *bundleClient) get(ctx context.Context, name, path string, timeout time.Duration) debugbundle.Part {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no response within %v", timeout))
	defer cancel()
	part := debugbundle.Part{Name: name}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.host+"/debug/bundle/"+path, nil)
	if err != nil {
		part.Err = err
		return part
	}
	if c.options.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.options.Token)
	}
	resp, err := c.client.Do(req)
	if err == nil {
		defer resp.Body.Close() //nolint:errcheck // read only
		part.Text, err = io.ReadAll(io.LimitReader(resp.Body, maxPart+1))
	}
	switch {
	case ctx.Err() != nil:
		part.Err = context.Cause(ctx)
	case err != nil:
		part.Err = errors.Unwrap(err)
		if part.Err == nil {
			part.Err = err
		}
	case len(part.Text) > maxPart:
		part.Err = fmt.Errorf("is larger than %d bytes", maxPart)
	case resp.StatusCode != http.StatusOK:
		var refused struct{ Reason string }
		if json.Unmarshal(part.Text, &refused) != nil || refused.Reason == "" {
			refused.Reason = fmt.Sprintf("status %d", resp.StatusCode)
		}
		part.Err = refusedError{resp.StatusCode, refused.Reason}
	}
	return part
}
