package workerapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

const (
	// claimKind is the kind of the records of workers inside this program.
	claimKind = "worker-claim"
	// claimKeep is the time for which the record of a worker that has ended exists. It is not
	// removed earlier, because the process that replaces the worker has the same owner.
	claimKeep  = 90 * time.Second
	claimEvery = 30 * time.Second
)

// KeepClaim records what a worker inside this program can run, until ctx ends, so that
// Unclaimed knows it. owner is the owner of its leases. It returns nil; errors are logged.
func KeepClaim(ctx context.Context, store driver.Keeper, owner string, c driver.Claim, log *slog.Logger) error {
	for ; ctx.Err() == nil; sleep.For(ctx, claimEvery) {
		if err := putJSON(ctx, store, claimKind, owner, c, claimKeep); err != nil && ctx.Err() == nil {
			log.Debug("cannot record which tasks the worker can run", "error", err)
		}
	}
	return nil
}

// Depth returns the depths of the queues of a store, with Unclaimed.
func Depth(ctx context.Context, store driver.Store) ([]driver.Depth, error) {
	all, err := store.Depth(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := claims(ctx, store)
	if err != nil {
		return nil, err
	}
	unclaimed, err := store.Unclaimed(ctx, workers)
	if err != nil {
		return nil, err
	}
	for i, d := range all {
		all[i].Unclaimed = min(unclaimed[d.Queue], d.Waiting)
	}
	return all, nil
}

// claims returns what all live workers can run.
func claims(ctx context.Context, store driver.Keeper) (all []driver.Claim, err error) {
	records, err := store.Records(ctx, claimKind)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		var c driver.Claim
		if json.Unmarshal(r.Value, &c) == nil {
			all = append(all, c)
		}
	}
	workers, err := NewDirectory(store).Workers(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		all = append(all, driver.Claim{Queues: w.Queues, Names: w.Tasks})
	}
	return all, nil
}

// ClaimOf returns the claim of a worker inside this program.
func ClaimOf(tasks *jobs.Registry, queues []string) driver.Claim {
	return driver.Claim{Queues: queues, Names: tasks.Names()}
}
