package celery

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/galeserver/gale/jobs"
)

// runBodies runs the bodies of chords whose parts have all ended.
func (b *Bridge) runBodies(ctx context.Context) error {
	all, err := b.results.HGetAll(ctx, b.keys.bodies()).Result()
	if err != nil {
		return err
	}
	for group, text := range all {
		if err := b.runBody(ctx, group, text); err != nil {
			return fmt.Errorf("run the body of chord %s: %w", group, err)
		}
	}
	return nil
}

// runBody enqueues the body of a chord. Its id is that of the body, so that several bridges
// may do it. If a part has failed, the body gets the result that Celery gives it.
func (b *Bridge) runBody(ctx context.Context, group, text string) error {
	parts, err := b.results.ZRange(ctx, b.keys.group(group, ".j"), 0, -1).Result()
	if err != nil {
		return err
	}
	made := &builder{entries: map[string]*entry{}}
	l, err := bodyLink(made, group, text)
	if err != nil {
		b.log.Warn("body of a chord of Celery cannot be run", "group", group, "error", err)
		return b.endChord(ctx, group)
	}
	for _, e := range made.entries {
		e.Owner = b.id
	}
	if err := b.await(ctx, made.entries); err != nil {
		return err
	}
	results, failed, err := partResults(parts)
	if err != nil {
		return err
	}
	if failed == nil {
		l.Results = jobs.ResultsList
		_, _, err := b.client.EnqueueAfter(ctx, l, results)
		if err != nil && !permanent(err) {
			return err
		}
		if err != nil {
			b.log.Warn("body of a chord of Celery rejected", "group", group, "id", l.ID, "task", l.Name, "error", err)
			failed = &outcome{state: stateFailure, reason: err.Error(), name: "ChordError", module: "celery.exceptions"}
		}
	}
	if failed == nil {
		b.watchAll(ctx, made.entries)
		return b.endChord(ctx, group)
	}
	for id, e := range made.entries {
		o := *failed
		if e.OnError {
			o = outcome{}
		}
		if err := b.publish(ctx, id, e, o); err != nil {
			return err
		}
	}
	return b.endChord(ctx, group)
}

// bodyLink makes the task of a body.
func bodyLink(made *builder, group, text string) (l jobs.Link, err error) {
	var s signature
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return l, err
	}
	if l, err = made.link(s, group+"-body", nil, false); err == nil && l.Group != nil {
		err = fmt.Errorf("a body cannot be a %s", s.Task)
	}
	return l, err
}

// partResults decodes the results of the parts of a chord, in their order.
func partResults(parts []string) (results []json.RawMessage, failed *outcome, err error) {
	for _, text := range parts {
		var part []json.RawMessage
		var id, state string
		err := json.Unmarshal([]byte(text), &part)
		if err == nil && len(part) != 4 {
			err = fmt.Errorf("a part has %d values", len(part))
		}
		if err == nil {
			err = json.Unmarshal(part[1], &id)
		}
		if err == nil {
			err = json.Unmarshal(part[2], &state)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("decode the result of a part: %w", err)
		}
		if state != stateSuccess {
			var e exception
			_ = json.Unmarshal(part[3], &e) // the text is only for people
			reason := fmt.Sprintf("Dependency %s raised %s(%q)", id, e.Type, e.Message)
			return nil, &outcome{state: stateFailure, reason: reason, name: "ChordError", module: "celery.exceptions"}, nil
		}
		results = append(results, part[3])
	}
	return results, nil, nil
}

// endChord removes what counted the parts of a chord.
func (b *Bridge) endChord(ctx context.Context, group string) error {
	pipe := b.results.TxPipeline()
	pipe.HDel(ctx, b.keys.bodies(), group)
	pipe.Del(ctx, b.keys.group(group, ".j"), b.keys.group(group, ".s"), b.keys.group(group, ".t"))
	_, err := pipe.Exec(ctx)
	return err
}
