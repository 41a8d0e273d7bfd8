// Package uploadhook asks a web service or a program whether a file may be uploaded. It is
// the flag -upload-hook.
//
// The hook gets an uploads.Proposal as JSON, and sends an uploads.Decision as JSON:
//
//	            URL                          command
//	request     body of POST                 standard input
//	admitted    200, decision in the body    exit status 0, decision on standard output
//	refused     4xx, reason in the body      exit status 1, reason on standard error
//
// Anything else is a fault of the hook. Then the file is refused too, and the client may try
// again: the error wraps uploads.ErrUndecided.
package uploadhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/uploads"
)

// DefaultTimeout is the default of Options.Timeout.
const DefaultTimeout = 5 * time.Second

// maxReply is the size limit of what a hook sends, and maxReason of a reason, in bytes.
const (
	maxReply  = 64 << 10
	maxReason = 200
)

// Pool runs blocking functions, a limited number at a time. It is implemented by
// *pool.Pool.
type Pool interface {
	Do(ctx context.Context, fn func(context.Context) error) error
}

// Options configure a Hook. Each zero field means the documented default.
type Options struct {
	// Timeout is the time limit of a decision. Default 5 s.
	Timeout time.Duration
	// Path is the value of PATH, to find a command and as its environment.
	Path string
	// Pool runs the decisions. If it is full, a file is refused with ErrUndecided.
	// Default: the goroutine of the caller.
	Pool Pool
	// Logger gets the faults of the hook. Default: none.
	Logger *slog.Logger
}

// Hook asks a web service or a program.
type Hook struct {
	opts Options
	log  *slog.Logger
	ask  func(ctx context.Context, proposal []byte) (decision []byte, err error)
}

// New returns a hook. target is the value of -upload-hook, which Check has accepted.
func New(target string, o Options) *Hook {
	o.Timeout = cmp.Or(max(o.Timeout, 0), DefaultTimeout)
	h := &Hook{opts: o, log: o.Logger}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if isURL(target) {
		h.ask = newService(target).post
	} else {
		h.ask = program{argv: strings.Fields(target), path: o.Path}.run
	}
	return h
}

func isURL(target string) bool {
	scheme, _, ok := strings.Cut(target, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// Check returns an error if target is neither the URL of a web service nor a command that
// can be found in path, the value of PATH. Arguments of a command are separated by spaces;
// there are no quotes, and no shell.
func Check(target, path string) error {
	if isURL(target) {
		u, err := url.Parse(target)
		if err != nil || u.Hostname() == "" {
			return fmt.Errorf("%q is not a URL", target)
		}
		return nil
	}
	argv := strings.Fields(target)
	if len(argv) == 0 {
		return errors.New("is empty; give a URL or a command")
	}
	_, err := find(argv[0], path)
	return err
}

// Decide asks the hook. The error is an *uploads.Refusal, or wraps uploads.ErrUndecided.
func (h *Hook) Decide(ctx context.Context, p uploads.Proposal) (d uploads.Decision, err error) {
	proposal, err := json.Marshal(p)
	if err != nil {
		return d, fmt.Errorf("encode proposal: %w", err)
	}
	// The end of a request, and a shutdown, do not stop it half way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.opts.Timeout)
	defer cancel()
	run := func(ctx context.Context) (err error) {
		d, err = h.decide(ctx, proposal)
		return err
	}
	if h.opts.Pool != nil {
		err = h.opts.Pool.Do(ctx, run)
	} else {
		err = run(ctx)
	}
	if _, refused := errors.AsType[*uploads.RefusalError](err); err == nil || refused {
		return d, err
	}
	h.log.ErrorContext(ctx, "upload hook failed, the file is refused: see -upload-hook", "directory", p.Directory, "filename", p.Filename, "error", err)
	return uploads.Decision{}, fmt.Errorf("%w: %w", uploads.ErrUndecided, err)
}

func (h *Hook) decide(ctx context.Context, proposal []byte) (d uploads.Decision, err error) {
	text, err := h.ask(ctx, proposal)
	if err != nil {
		return d, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields() // a misspelt limit must not be ignored
	if err := dec.Decode(&d); err != nil {
		return d, fmt.Errorf("decision is not the expected JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return d, errors.New("decision is not the expected JSON: text after the object")
	}
	if d.MaxSize < 0 {
		return d, fmt.Errorf("decision: max_size %d is negative", d.MaxSize)
	}
	if d.Directory == "" && d.Filename == "" {
		return d, nil
	}
	if err := uploads.CheckName(cmp.Or(d.Directory, "any"), cmp.Or(d.Filename, "any")); err != nil {
		return d, fmt.Errorf("decision: %w", err)
	}
	return d, nil
}

// refuse returns the refusal with the first line of text as its reason. A JSON object with a
// text "reason" is accepted as well.
func refuse(status int, text []byte) error {
	var body struct {
		Reason string `json:"reason"`
	}
	reason := string(text)
	if json.Unmarshal(text, &body) == nil {
		reason = body.Reason
	}
	reason, _, _ = strings.Cut(strings.TrimSpace(utf8text.Repair(reason)), "\n")
	reason = utf8text.Cut(strings.Map(printable, reason), maxReason)
	return &uploads.RefusalError{Status: status, Reason: cmp.Or(reason, "refused")}
}

func printable(r rune) rune {
	if unicode.IsControl(r) {
		return -1
	}
	return r
}
