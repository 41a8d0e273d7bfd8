package s3

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// quota counts the unfinished uploads: a hash in Redis with the bytes of each id. Redis may
// forget it; a sweep writes it again.
type quota struct {
	rdb redis.UniversalClient
	key string
}

// reserve sets the bytes of an upload, unless that exceeds the limits.
//
//	KEYS[1] the hash; ARGV[1] id, ARGV[2] bytes, ARGV[3] limit of bytes, ARGV[4] limit of
//	uploads → 1, or 0 if a limit would be exceeded
var reserve = redisdb.NewScript(`
local all = redis.call('HGETALL', KEYS[1])
local bytes, uploads = tonumber(ARGV[2]), 1
for i = 1, #all, 2 do
  if all[i] ~= ARGV[1] then
    bytes, uploads = bytes + tonumber(all[i + 1]), uploads + 1
  end
end
if bytes > tonumber(ARGV[3]) or uploads > tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
`)

func (q quota) reserve(ctx context.Context, id string, bytes int64, l tus.Limits) error {
	done, err := reserve.Run(ctx, q.rdb, []string{q.key}, id, bytes, l.Bytes, l.Uploads).Int()
	if err != nil {
		return fmt.Errorf("count unfinished uploads: %w: %w", uploads.ErrUnavailable, err)
	}
	if done == 0 {
		return tus.ErrFull
	}
	return nil
}

// set sets the bytes of an upload without a check. After an error, repair does it.
func (q quota) set(ctx context.Context, id string, bytes int64) {
	_ = q.rdb.HSet(context.WithoutCancel(ctx), q.key, id, bytes).Err()
}

// release removes an upload. After an error, repair does it.
func (q quota) release(ctx context.Context, id string) {
	_ = q.rdb.HDel(context.WithoutCancel(ctx), q.key, id).Err()
}

// counted returns the ids that are counted.
func (q quota) counted(ctx context.Context) (map[string]string, error) {
	all, err := q.rdb.HGetAll(ctx, q.key).Result()
	if err != nil {
		return nil, fmt.Errorf("read unfinished uploads: %w", err)
	}
	return all, nil
}

// repair makes the hash that of the unfinished uploads. counted are the ids that were counted
// before these were listed: newer ones are not removed.
func (q quota) repair(ctx context.Context, counted map[string]string, unfinished map[string]int64) error {
	var changes []redis.Cmder
	pipe := q.rdb.Pipeline()
	for id, bytes := range unfinished {
		if counted[id] != strconv.FormatInt(bytes, 10) {
			changes = append(changes, pipe.HSet(ctx, q.key, id, bytes))
		}
	}
	for id := range counted {
		if _, ok := unfinished[id]; !ok {
			changes = append(changes, pipe.HDel(ctx, q.key, id))
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("count unfinished uploads: %w", err)
	}
	return nil
}
