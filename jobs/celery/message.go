package celery

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/galeserver/gale/jobs"
)

// maxBody is the largest size of a body after decompression, in bytes.
const maxBody = 2 * jobs.MaxArgs

// envelope is a message as kombu stores it.
type envelope struct {
	Body            string                     `json:"body"`
	ContentType     string                     `json:"content-type"`
	ContentEncoding string                     `json:"content-encoding"`
	Headers         map[string]json.RawMessage `json:"headers"`
	Properties      struct {
		BodyEncoding string `json:"body_encoding"`
		DeliveryInfo struct {
			RoutingKey string `json:"routing_key"`
		} `json:"delivery_info"`
	} `json:"properties"`
}

// header are the headers of a task that the bridge reads.
type header struct {
	Task         string     `json:"task"`
	ID           string     `json:"id"`
	ETA          *string    `json:"eta"`
	Expires      *string    `json:"expires"`
	Group        *string    `json:"group"`
	GroupIndex   *int       `json:"group_index"`
	Retries      int        `json:"retries"`
	TimeLimit    []*float64 `json:"timelimit"` // hard, soft
	IgnoreResult bool       `json:"ignore_result"`
	Compression  string     `json:"compression"`
}

// ownHeaders are headers that the worker does not get, because the task has their values or
// because they only describe the message.
var ownHeaders = []string{
	"lang", "task", "id", "eta", "expires", "timelimit", "argsrepr", "kwargsrepr", "compression",
	"ignore_result", "shadow", "group_index", "origin", "stamped_headers", "stamps",
}

// message is a decoded message.
type message struct {
	task    jobs.NewTask
	retries int               // attempts that a worker of Celery has made
	entries map[string]*entry // of the task and of those that follow it, by id
}

// errNaN is the reason for a body with a number that JSON does not have.
var errNaN = errors.New("body is not JSON; NaN and Infinity are not valid in it")

// parseMessage decodes a message. The error says why its task cannot be run.
func parseMessage(raw string) (*message, error) {
	var e envelope
	if err := json.Unmarshal([]byte(raw), &e); err != nil {
		return nil, fmt.Errorf("not a message of Celery: %w", err)
	}
	var h header
	headers, err := json.Marshal(e.Headers)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(headers, &h); err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	switch {
	case h.Task == "":
		return nil, errors.New("not a message of protocol 2 of Celery: there is no header task")
	case !jobs.ValidID(h.ID):
		return nil, fmt.Errorf("id %.200q: use 1 to 128 letters, digits, dots, underscores and hyphens", h.ID)
	case e.ContentType != "application/json":
		return nil, fmt.Errorf("content type is %.100q: set task_serializer of Celery to json", e.ContentType)
	}
	body, err := e.decodeBody(h.Compression)
	if err != nil {
		return nil, err
	}
	m := &message{retries: h.Retries, entries: map[string]*entry{}}
	m.task = jobs.NewTask{ID: h.ID, Name: h.Task, Queue: queueOf(e.Properties.DeliveryInfo.RoutingKey), Args: body.args, Kwargs: body.kwargs}
	if err := m.setTimes(h); err != nil {
		return nil, err
	}
	if m.task.Headers, err = workerHeaders(e.Headers); err != nil {
		return nil, err
	}
	first := &entry{Task: h.Task, Silent: h.IgnoreResult, Chord: body.embed.Chord}
	if h.Group != nil {
		first.Group = *h.Group
	}
	if h.GroupIndex != nil {
		first.Index = *h.GroupIndex
	}
	m.entries[h.ID] = first
	b := &builder{entries: m.entries}
	if err := b.addEmbedded(&m.task, body.embed); err != nil {
		return nil, err
	}
	return m, nil
}

// queueOf returns the queue for a routing key. The default queue of Celery stands for the
// queue of the task's definition.
func queueOf(key string) string {
	if key == DefaultQueue {
		return ""
	}
	return key
}

// setTimes sets RunAt, Expires and Timeout.
func (m *message) setTimes(h header) (err error) {
	if h.ETA != nil {
		if m.task.RunAt, err = parseTime(*h.ETA); err != nil {
			return fmt.Errorf("eta: %w", err)
		}
	}
	if h.Expires != nil {
		if m.task.Expires, err = parseTime(*h.Expires); err != nil {
			return fmt.Errorf("expires: %w", err)
		}
	}
	for _, limit := range slices.Backward(h.TimeLimit) { // the hard limit counts if there are two
		if limit != nil && *limit > 0 && *limit < float64(jobs.MaxUniqueFor/time.Second) {
			m.task.Timeout = time.Duration(*limit * float64(time.Second))
		}
	}
	return nil
}

// parseTime decodes a time in ISO 8601. Without a zone it is UTC.
func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05", text)
	}
	if err != nil {
		return at, fmt.Errorf("%.100q is not a time in ISO 8601", text)
	}
	return at, nil
}

// isExpired reports whether the task cannot start in time.
func (m *message) isExpired(now time.Time) bool {
	return !m.task.Expires.IsZero() && (!m.task.Expires.After(now) || !m.task.Expires.After(m.task.RunAt))
}

// limitRetries reduces the retries of the definition by those that a worker of Celery has
// made.
func (m *message) limitRetries(c *jobs.Client) {
	if m.retries == 0 || c.Tasks == nil {
		return
	}
	if d, err := c.Tasks.Lookup(m.task.Name); err == nil {
		if m.task.MaxRetries = d.MaxRetries - m.retries; m.task.MaxRetries <= 0 {
			m.task.MaxRetries = jobs.NoRetries
		}
	}
}

func (m *message) setOwner(id string) {
	for _, e := range m.entries {
		e.Owner = id
	}
}

// workerHeaders returns the headers that the worker gets.
func workerHeaders(all map[string]json.RawMessage) (json.RawMessage, error) {
	kept := maps.Clone(all)
	for _, name := range ownHeaders {
		delete(kept, name)
	}
	maps.DeleteFunc(kept, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	if string(kept["retries"]) == "0" {
		delete(kept, "retries")
	}
	if len(kept) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(kept)
	if err == nil && len(text) > jobs.MaxHeaders {
		err = fmt.Errorf("headers have %d bytes, more than the limit of %d", len(text), jobs.MaxHeaders)
	}
	return text, err
}

// body is a decoded body.
type body struct {
	args, kwargs json.RawMessage
	embed        embedded
}

// embedded is the third part of a body.
type embedded struct {
	Callbacks []signature     `json:"callbacks"`
	Errbacks  []signature     `json:"errbacks"`
	Chain     []signature     `json:"chain"` // the next one last
	Chord     json.RawMessage `json:"chord"`
}

// decodeBody decodes the body of a message.
func (e *envelope) decodeBody(compression string) (b body, err error) {
	text := []byte(e.Body)
	switch e.Properties.BodyEncoding {
	case "base64":
		if text, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return b, fmt.Errorf("body: %w", err)
		}
	case "":
	default:
		return b, fmt.Errorf("body has the encoding %.100q", e.Properties.BodyEncoding)
	}
	switch compression {
	case "application/x-gzip": // which is zlib in kombu
		if text, err = inflate(text); err != nil {
			return b, err
		}
	case "":
	default:
		return b, fmt.Errorf("body has the compression %.100q: use gzip or none", compression)
	}
	var parts []json.RawMessage
	if !json.Valid(text) {
		return b, errNaN
	}
	if err := json.Unmarshal(text, &parts); err != nil || len(parts) != 3 {
		return b, errors.New("body is not an array of arguments, arguments by name and options")
	}
	if err := json.Unmarshal(parts[2], &b.embed); err != nil {
		return b, fmt.Errorf("body: %w", err)
	}
	if string(b.embed.Chord) == "null" {
		b.embed.Chord = nil
	}
	b.args, b.kwargs = parts[0], kwargsOf(parts[1])
	return b, nil
}

// kwargsOf returns nil for an empty object.
func kwargsOf(text json.RawMessage) json.RawMessage {
	if string(bytes.Join(bytes.Fields(text), nil)) == "{}" || string(text) == "null" {
		return nil
	}
	return text
}

func inflate(text []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if len(plain) > maxBody {
		return nil, fmt.Errorf("body is longer than %d bytes", maxBody)
	}
	return plain, nil
}
