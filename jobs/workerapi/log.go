package workerapi

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/galeserver/gale/internal/utf8text"
)

// LogEntry is output of an attempt.
type LogEntry struct {
	Lease string `json:"lease"`
	// Lines is text, or a list of lines without newlines. Of more than MaxLog, the end
	// counts.
	Lines Lines `json:"lines"`
}

// Lines is text of whole lines. As JSON it is a text or a list of texts.
type Lines string

// UnmarshalJSON implements json.Unmarshaler.
func (l *Lines) UnmarshalJSON(data []byte) error {
	var list []string
	if json.Unmarshal(data, &list) == nil {
		*l = Lines(strings.Join(list, "\n"))
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return invalid("lines: neither a text nor a list of texts")
	}
	*l = Lines(text)
	return nil
}

// Log appends lines to the logs of tasks, of which the last MaxLog bytes are kept.
func (s *Service) Log(ctx context.Context, entries []LogEntry) []Result {
	results := make([]Result, len(entries))
	each(len(entries), func(i int) {
		e := entries[i]
		id, err := parseLease(e.Lease)
		if err != nil {
			err = invalid("%v", err)
		} else if e.Lines != "" {
			err = s.store.AppendLog(ctx, id.lease(), utf8text.Repair(string(e.Lines)))
		}
		results[i] = s.resultOf(e.Lease, "", err)
	})
	return results
}
