package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/prefork"
)

// controlCommand runs "reload", "stop" or "scale". It requests the change at the admin
// endpoint and waits for the outcome.
func controlCommand(ctx context.Context, verb string, e env) error {
	words, flags := splitAtFlag(e.args)
	o, err := config.LoadControl(e.program, config.Command(verb), flags, e.environ)
	if err != nil {
		return err
	}
	var slots map[string]int
	if verb == "scale" {
		if slots, err = parseSlots(words); err != nil {
			return usageError(e.app.command() + " scale: " + err.Error())
		}
	} else if len(words) > 0 {
		return usageError(fmt.Sprintf("%s %s: unexpected argument %q", e.app.command(), verb, words[0]))
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("not done within -timeout of %v; the change continues", o.Timeout))
	defer cancel()
	c := controlClient{address: o.Admin, token: o.Token}
	var body []byte
	if verb == "scale" {
		body, _ = json.Marshal(slots) // cannot fail for numbers
	}
	before, err := c.post(ctx, "/"+verb, body)
	if err != nil {
		return err
	}
	var outcome string
	switch verb {
	case "reload":
		outcome, err = c.awaitReload(ctx, before)
	case "stop":
		outcome, err = c.awaitStop(ctx, before)
	default:
		outcome, err = c.awaitSlots(ctx, slots)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, outcome)
	return err
}

// parseSlots parses arguments such as serve=4.
func parseSlots(words []string) (map[string]int, error) {
	slots := map[string]int{}
	for _, w := range words {
		role, text, ok := strings.Cut(w, "=")
		n, err := strconv.Atoi(text)
		if _, twice := slots[role]; !ok || role == "" || err != nil || n < 1 || twice {
			return nil, fmt.Errorf("invalid argument %q: give each role once with its number of slots, at least 1, such as serve=4", w)
		}
		slots[role] = n
	}
	if len(slots) == 0 {
		return nil, errors.New("missing arguments: give roles with their number of slots, such as serve=4 worker=2")
	}
	return slots, nil
}

// controlClient requests changes at the admin endpoint.
type controlClient struct{ address, token string }

// post requests a change, and returns the status before it.
func (c controlClient) post(ctx context.Context, page string, body []byte) (before statusResponse, err error) {
	code, text, err := requestAdmin(ctx, http.MethodPost, c.address, page, c.token, body)
	if err != nil {
		return before, err
	}
	if code != http.StatusAccepted {
		var refused struct{ Reason string }
		if json.Unmarshal(text, &refused) != nil || refused.Reason == "" {
			return before, fmt.Errorf("%s is not the admin endpoint of a server: %s returned status %d", c.address, page, code)
		}
		return before, fmt.Errorf("%s refused: %s", page, refused.Reason)
	}
	return before, json.Unmarshal(text, &before)
}

// poll reads the status until done returns true. A request that fails is repeated: during a
// reload the endpoint does not respond for a moment. failed is the error of the last request.
func (c controlClient) poll(ctx context.Context, done func(s statusResponse, failed error) bool) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		var s statusResponse
		code, body, err := requestAdmin(ctx, http.MethodGet, c.address, "/status", "", nil)
		if err == nil && code == http.StatusOK {
			err = json.Unmarshal(body, &s)
		} else if err == nil {
			err = fmt.Errorf("/status returned status %d", code)
		}
		if ctx.Err() == nil && done(s, err) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c controlClient) awaitReload(ctx context.Context, before statusResponse) (string, error) {
	var last statusResponse
	err := c.poll(ctx, func(s statusResponse, failed error) bool {
		if failed != nil {
			return false
		}
		last = s
		return !s.Reloading && s.Reloads+s.RefusedReloads > before.Reloads+before.RefusedReloads || s.Stopping
	})
	switch {
	case err != nil && last.ReloadFailed != "":
		return "", fmt.Errorf("%w: %s", err, last.ReloadFailed)
	case err != nil:
		return "", err
	case last.Stopping:
		return "", errors.New("the server is stopping")
	case last.ReloadFailed != "":
		return "", fmt.Errorf("reload failed: %s", last.ReloadFailed)
	}
	return fmt.Sprintf("reloaded: %s, pid %d", last.Version, last.PID), nil
}

// awaitStop waits until the admin endpoint, which the master closes at its end, is closed or
// belongs to another process.
func (c controlClient) awaitStop(ctx context.Context, before statusResponse) (string, error) {
	err := c.poll(ctx, func(s statusResponse, failed error) bool {
		if failed != nil {
			return errors.Is(failed, syscall.ECONNREFUSED) || errors.Is(failed, syscall.ENOENT)
		}
		return s.PID != before.PID
	})
	return fmt.Sprintf("stopped: pid %d", before.PID), err
}

// awaitSlots waits until each role has the number of live slots.
func (c controlClient) awaitSlots(ctx context.Context, slots map[string]int) (string, error) {
	var states []string
	err := c.poll(ctx, func(s statusResponse, failed error) bool {
		if failed != nil {
			return false
		}
		found := map[string]int{}
		states = states[:0]
		for _, slot := range s.Slots {
			if _, asked := slots[slot.Role]; !asked {
				continue
			}
			found[slot.Role]++
			if slot.State != prefork.StateLive {
				states = append(states, fmt.Sprintf("%s is %s", slot.Slot, slot.State))
			}
		}
		return len(states) == 0 && maps.Equal(found, slots)
	})
	if err != nil && len(states) > 0 {
		return "", fmt.Errorf("%w: %s", err, strings.Join(states, ", "))
	}
	words := []string{"scaled:"}
	for _, role := range slices.Sorted(maps.Keys(slots)) {
		words = append(words, fmt.Sprintf("%s=%d", role, slots[role]))
	}
	return strings.Join(words, " "), err
}
