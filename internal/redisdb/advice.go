package redisdb

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// advice lists what to do about error responses of Redis, by the beginning of their text.
var advice = []struct{ text, todo string }{
	{"NOPERM", aclTodo},
	{"ERR The user executing the script can't", aclTodo}, // Redis 7.0
	{"ERR ACL failure in script", aclTodo},
	{"NOAUTH", "Redis requires a user and password: add them to the address"},
	{"WRONGPASS", "Redis does not accept the user or password in the address: correct the address or the user in Redis"},
	{"ERR AUTH", "the address has a password, but Redis has none for this user: remove it from the address, or set requirepass"},
	{"ERR invalid password", "Redis does not accept the password in the address: correct the address or requirepass"},
	{"DENIED", "Redis is in protected mode: set a password in Redis, or bind it to an address that only your servers can reach"},
	{"OOM", "Redis has reached maxmemory: raise maxmemory, or delete keys that are not needed"},
	{"MISCONF", "Redis cannot write to its disk: see the log of Redis"},
	{"READONLY", "the address is that of a read-only replica: use the address of the master"},
	{"NOREPLICAS", "fewer replicas are connected than min-replicas-to-write: start the replicas"},
	{"MASTERDOWN", "the address is that of a replica whose master is down: use the address of the master"},
	{"LOADING", "Redis is loading its data from disk: wait until it has finished"},
	{"BUSY ", "a script blocks Redis: end it with SCRIPT KILL"},
	{"CLUSTERDOWN", "a part of the slots of the cluster is not served: see redis-cli --cluster check"},
	{"MOVED", clusterTodo},
	{"ASK ", clusterTodo},
	{"CROSSSLOT", clusterTodo},
	{"WRONGTYPE", "another program has written to a key of Gale: delete the key, or use a separate Redis for Gale"},
	{"ERR max number of clients reached", "Redis has reached maxclients: raise maxclients"},
}

const (
	aclTodo     = "the user lacks a permission: grant those in docs/howto/redis.md with ACL SETUSER"
	clusterTodo = "the address is that of one node of a cluster: use the addresses of several nodes, separated by commas"
)

// Advice returns what to do about an error if Redis has refused a command, for example
// because its memory is full or the user lacks a permission. Otherwise it returns false.
func Advice(err error) (todo string, refused bool) {
	response, ok := errors.AsType[redis.Error](err)
	if !ok {
		return "", false
	}
	text := response.Error()
	for _, a := range advice {
		if strings.HasPrefix(text, a.text) {
			return a.todo + missingCommand(text), true
		}
	}
	return "", false
}

// scripts holds the texts of the scripts made by NewScript, by their SHA-1 hash.
var scripts sync.Map

// NewScript makes a Lua script. If the user lacks the permission for a command in it, the
// error of Redis contains the line and not the command. Advice then names the commands on
// that line.
func NewScript(src string) *redis.Script {
	s := redis.NewScript(src)
	scripts.Store(s.Hash(), src)
	return s
}

var (
	scriptLine    = regexp.MustCompile(`script: ([0-9a-f]{40}), on @user_script:(\d+)`)
	scriptCommand = regexp.MustCompile(`'([A-Z]{2,}(?:', '(?:CREATE|DELCONSUMER|STREAM|GROUPS|CONSUMERS))?)'`)
)

// missingCommand returns a text with the commands on the line at which a script failed
// because of a missing permission.
func missingCommand(text string) string {
	m := scriptLine.FindStringSubmatch(text)
	if m == nil || !strings.HasPrefix(text, "ERR The user executing the script can't run") {
		return ""
	}
	script, ok := scripts.Load(m[1])
	n, err := strconv.Atoi(m[2])
	if !ok || err != nil {
		return ""
	}
	lines := strings.Split(script.(string), "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	var names []string
	for _, c := range scriptCommand.FindAllStringSubmatch(lines[n-1], -1) {
		names = append(names, "+"+strings.ToLower(strings.Replace(c[1], "', '", "|", 1)))
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; the command was one of " + strings.Join(slices.Compact(names), " ")
}

// refusals is a hook that logs refused commands.
type refusals struct{ problems *ProblemLog }

func (r refusals) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r refusals) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		r.report(cmd, err)
		return err
	}
}

func (r refusals) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			r.report(cmd, cmd.Err())
		}
		return err
	}
}

// optional are commands that may fail: Gale works without them.
var optional = []string{"info", "config", "hello", "client"}

func (r refusals) report(cmd redis.Cmder, err error) {
	if err == nil || slices.Contains(optional, cmd.Name()) {
		return
	}
	if todo, ok := Advice(err); ok {
		r.problems.Report("redis refuses commands", todo, err)
	}
}
