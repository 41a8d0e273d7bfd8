package sqlite

import (
	"context"
	"slices"

	"github.com/galeserver/gale/jobs/driver"
)

// offer holds the limits on what one call of Lease may still lease.
type offer struct {
	*wanted
	suspects int              // number of suspects that may still be leased
	next     map[string]int64 // earliest next start of each task name with a rate limit, in µs
	changed  map[string]bool  // names whose next has changed
}

// take reports whether the task may be leased. If so, it counts the task against the limits.
func (o *offer) take(r *row, now int64) bool {
	if r.suspect() && o.suspects <= 0 {
		return false
	}
	if rate, limited := o.Rates[r.task.Name]; limited {
		next, ok := driver.Start(rate, o.next[r.task.Name], now)
		if !ok {
			return false
		}
		o.next[r.task.Name], o.changed[r.task.Name] = next, true
	}
	if r.suspect() {
		o.suspects--
	}
	return true
}

// allowedNames returns, as JSON, the names without a rate limit and those whose rate limit
// allows a start now.
func (o *offer) allowedNames(now int64) (string, error) {
	if len(o.Rates) == 0 {
		return o.names, nil
	}
	return jsonText(slices.DeleteFunc(slices.Clone(o.Names), func(name string) bool {
		rate, limited := o.Rates[name]
		return limited && !driver.MayStart(rate, o.next[name], now)
	}))
}

// readRates reads the stored rates into the offer.
func (t *tx) readRates(ctx context.Context, o *offer) error {
	o.next, o.changed = map[string]int64{}, map[string]bool{}
	for name := range o.Rates {
		var next int64
		if _, err := t.queryRow(ctx, `SELECT next FROM rates WHERE name = ?`, []any{name}, &next); err != nil {
			return err
		}
		o.next[name] = next
	}
	return nil
}

// writeRates stores the changed rates of the offer.
func (t *tx) writeRates(ctx context.Context, o *offer) error {
	for name := range o.changed {
		if err := t.exec(ctx, `INSERT OR REPLACE INTO rates (name, next) VALUES (?, ?)`, name, o.next[name]); err != nil {
			return err
		}
	}
	return nil
}
