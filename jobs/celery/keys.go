package celery

import "github.com/redis/go-redis/v9"

// keys makes the names of keys in Redis.
type keys struct{ prefix string }

// Keys of Celery.

// queue returns the list of a queue with a priority. Lists of other priorities than 0 have a
// suffix.
func (k keys) queue(name, priority string) string {
	if priority == "0" {
		return k.prefix + name
	}
	return k.prefix + name + "\x06\x16" + priority
}

func (k keys) result(id string) string { return k.prefix + "celery-task-meta-" + id }

func (k keys) group(id, part string) string { return k.prefix + "celery-taskset-meta-" + id + part }

// Keys of bridges.

func (k keys) own(name string) string { return k.prefix + "gale:celery:" + name }

// taken is the list of the messages that a bridge has taken and not yet enqueued.
func (k keys) taken(bridge string) string { return k.own("taken:" + bridge) }

// alive exists while a bridge gives signs of life.
func (k keys) alive(bridge string) string { return k.own("alive:" + bridge) }

// bridges is the set of the ids of all bridges.
func (k keys) bridges() string { return k.own("bridges") }

// rejected is the list of the messages that cannot be run, as JSON objects.
func (k keys) rejected() string { return k.own("rejected") }

// revoked has the ids that were revoked, by the time of that.
func (k keys) revoked() string { return k.own("revoked") }

// waiting is the hash of the tasks whose results Celery clients may read, see entry.
func (k keys) waiting() string { return k.own("waiting") }

// bodies is the hash of the chords whose parts have ended: their bodies by group.
func (k keys) bodies() string { return k.own("bodies") }

// counted is the set of the parts of a chord that were counted.
func (k keys) counted(group string) string { return k.own("counted:" + group) }

// priorities are the suffixes of kombu's lists, in the order in which they are read.
var priorities = []string{"0", "3", "6", "9"}

// takeScript moves messages from queues to the list of the bridge and returns that list.
// KEYS: the list, the queues. ARGV: the largest length of the list.
var takeScript = redis.NewScript(`
	local left = tonumber(ARGV[1]) - redis.call('LLEN', KEYS[1])
	for i = 2, #KEYS do
		while left > 0 and redis.call('LMOVE', KEYS[i], KEYS[1], 'RIGHT', 'LEFT') do left = left - 1 end
	end
	return redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)`)

// rejectScript moves a message to the list of rejected ones.
// KEYS: the list of the bridge, that of rejected messages. ARGV: message, entry.
var rejectScript = redis.NewScript(`
	if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
	redis.call('LPUSH', KEYS[2], ARGV[2])
	return 1`)

// inheritScript moves the messages of a bridge without signs of life to another one.
// KEYS: sign of life, list of the former, list of the latter, set of bridges.
// ARGV: id of the former.
var inheritScript = redis.NewScript(`
	if redis.call('EXISTS', KEYS[1]) == 1 then return -1 end
	local moved = 0
	while redis.call('LMOVE', KEYS[2], KEYS[3], 'RIGHT', 'RIGHT') do moved = moved + 1 end
	redis.call('SREM', KEYS[4], ARGV[1])
	return moved`)

// resultScript stores and publishes the result of a task once, and counts a part of a chord.
// KEYS: waiting, result. For a part of a chord also: results of the parts (.j), number of parts
// (.s), difference of that (.t), counted parts, bodies. ARGV: id, result or ”, retention in
// seconds; for a part also: its index, its entry, group, body. It returns 1 if the task was
// waiting, 2 if it was the last part of a chord, else 0.
var resultScript = redis.NewScript(`
	if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
	if ARGV[2] ~= '' then
		redis.call('SETEX', KEYS[2], ARGV[3], ARGV[2])
		redis.call('PUBLISH', KEYS[2], ARGV[2])
	end
	if #KEYS == 2 or redis.call('SADD', KEYS[6], ARGV[1]) == 0 then return 1 end
	redis.call('ZADD', KEYS[3], ARGV[4], ARGV[5])
	for i = 3, 6 do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
	local size = redis.call('GET', KEYS[4])
	if not size or redis.call('ZCARD', KEYS[3]) ~= size + (redis.call('GET', KEYS[5]) or 0) then return 1 end
	redis.call('HSET', KEYS[7], ARGV[6], ARGV[7])
	return 2`)

// adoptScript replaces the entry of a task, unless its result is stored already.
// KEYS: waiting. ARGV: id, entry.
var adoptScript = redis.NewScript(`
	if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
	return 0`)
