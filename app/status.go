package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/galeserver/gale/app/internal/config"
)

// status runs the command "status", which reads the admin endpoint of a running server.
func status(ctx context.Context, e env) error {
	o, err := config.LoadStatus(e.program, e.args, e.environ)
	if err != nil {
		return err
	}
	if o.Ready {
		return ready(ctx, e.stdout, o.Admin)
	}
	code, body, err := getAdmin(ctx, o.Admin, "/status")
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("%s: /status returned status %d: %s", o.Admin, code, strings.TrimSpace(string(body)))
	}
	if o.JSON {
		_, err := e.stdout.Write(body)
		return err
	}
	var response statusResponse
	if err := json.Unmarshal(body, &response); err != nil {
		return fmt.Errorf("%s is not the admin endpoint of a server: %w", o.Admin, err)
	}
	return printStatus(e.stdout, response)
}

// ready reports whether the server is ready. If it is not, the error gives the reasons.
func ready(ctx context.Context, w io.Writer, address string) error {
	code, body, err := getAdmin(ctx, address, "/readyz")
	if err != nil {
		return err
	}
	if code == http.StatusOK {
		_, err := fmt.Fprintln(w, "ready")
		return err
	}
	var response struct{ Reasons []string }
	if err := json.Unmarshal(body, &response); err != nil || len(response.Reasons) == 0 {
		return fmt.Errorf("%s is not the admin endpoint of a server: /readyz returned status %d", address, code)
	}
	return fmt.Errorf("not ready: %s", strings.Join(response.Reasons, "; "))
}

// getAdmin requests a page of the admin endpoint at address, host:port or unix:/path.
func getAdmin(ctx context.Context, address, page string) (code int, body []byte, err error) {
	return requestAdmin(ctx, http.MethodGet, address, page, "", nil)
}

// requestAdmin sends a request to the admin endpoint, with the token if it is not empty.
func requestAdmin(ctx context.Context, method, address, page, token string, content []byte) (code int, body []byte, err error) {
	client := adminClient(address)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	return sendAdmin(ctx, client, method, address, page, token, content)
}

// adminHost returns the host in URLs of the admin endpoint at address.
func adminHost(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return "localhost"
	}
	return address
}

// adminClient returns a client for the admin endpoint at address.
func adminClient(address string) *http.Client {
	network, dialled := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, dialled = "unix", path
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, dialled)
		},
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second,
	}}
}

// sendAdmin sends a request to the admin endpoint at address by a client of adminClient.
func sendAdmin(ctx context.Context, client *http.Client, method, address, page, token string, content []byte) (code int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+adminHost(address)+page, bytes.NewReader(content))
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("no server responds on %s: %w; check -admin", address, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	body, err = io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("read response of %s: %w", address, err)
	}
	return resp.StatusCode, body, nil
}

// printStatus prints a line for each slot.
func printStatus(w io.Writer, a statusResponse) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s, pid %d\n", a.Version, a.PID)
	if a.ReloadFailed != "" {
		fmt.Fprintf(t, "reload failed: %s\n", a.ReloadFailed)
	}
	fmt.Fprint(t, "\nSLOT\tSTATE\tPID\tGENERATION\tRESTARTS\tCONNECTIONS\tQUEUE\tMEMORY\tLAST EXIT\n")
	for _, s := range a.Slots {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%.1f MiB\t%s\n", s.Slot, s.State, s.PID, s.Generation, s.Restarts,
			s.Connections, s.AcceptQueue, float64(s.RSS)/(1<<20), s.LastExit)
	}
	return t.Flush()
}
