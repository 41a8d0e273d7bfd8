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

// advice names what to do about errors of Redis, by what they begin with or, for
// those that begin with ERR, by what they contain.
var advice = []struct{ text, todo string }{
	{"NOPERM", aclTodo},
	{"ERR The user executing the script can't", aclTodo}, // Redis 7.0
	{"ERR ACL failure in script", aclTodo},
	{"NOAUTH", "give the address the user and password that Redis asks for"},
	{"WRONGPASS", "the user or password in the address is not what Redis has: correct one of them"},
	{"ERR AUTH", "Redis has no password, or the user has none: correct the address, or requirepass"},
	{"ERR invalid password", "the password in the address is not what Redis has: correct one of them"},
	{"DENIED", "Redis is in protected mode: give it a password, or bind it to an address that only servers reach"},
	{"OOM", "Redis has reached maxmemory: raise it, or delete what is not needed"},
	{"MISCONF", "Redis cannot write to its disk: its log says why"},
	{"READONLY", "the address is that of a read-only replica: give that of the master"},
	{"NOREPLICAS", "Redis has fewer replicas than min-replicas-to-write: start them"},
	{"MASTERDOWN", "the address is that of a replica without its master: give that of the master"},
	{"LOADING", "Redis reads its data from disk: wait"},
	{"BUSY ", "a script keeps Redis busy: SCRIPT KILL ends it"},
	{"CLUSTERDOWN", "the cluster lacks a part of its slots: redis-cli --cluster check names it"},
	{"MOVED", "the address is that of one node of a cluster: give those of several, comma separated"},
	{"ASK ", "the address is that of one node of a cluster: give those of several, comma separated"},
	{"CROSSSLOT", "the address is that of one node of a cluster: give those of several, comma separated"},
	{"WRONGTYPE", "a key of Gale holds what Gale did not write: delete it, or give Gale a Redis of its own"},
	{"ERR max number of clients reached", "Redis has no room for more connections: raise maxclients"},
}

const aclTodo = "the user lacks a right: give it those in docs/howto/redis.md, with ACL SETUSER"

// Refusal reports whether err is Redis itself refusing to work, as one that is
// full or that does not know the user does, and what to do about it.
func Refusal(err error) (todo string, refused bool) {
	reply, ok := errors.AsType[redis.Error](err)
	if !ok {
		return "", false
	}
	text := reply.Error()
	for _, a := range advice {
		if strings.HasPrefix(text, a.text) {
			return a.todo + missingCommand(text), true
		}
	}
	return "", false
}

// scripts are the lines of those that NewScript made, by hash.
var scripts sync.Map

// NewScript makes a script. Where Redis does not say which of its commands the
// user may not use, Refusal finds it by the line.
func NewScript(src string) *redis.Script {
	s := redis.NewScript(src)
	scripts.Store(s.Hash(), strings.Split(src, "\n"))
	return s
}

var (
	scriptLine    = regexp.MustCompile(`script: ([0-9a-f]{40}), on @user_script:(\d+)`)
	scriptCommand = regexp.MustCompile(`'([A-Z]{2,}(?:', '(?:CREATE|DELCONSUMER|STREAM|GROUPS|CONSUMERS))?)'`)
)

// missingCommand names the commands on the line at which a script failed for
// want of a right.
func missingCommand(text string) string {
	m := scriptLine.FindStringSubmatch(text)
	if m == nil || !strings.HasPrefix(text, "ERR The user executing the script can't run") {
		return ""
	}
	lines, ok := scripts.Load(m[1])
	n, err := strconv.Atoi(m[2])
	if !ok || err != nil || n < 1 || n > len(lines.([]string)) {
		return ""
	}
	var names []string
	for _, c := range scriptCommand.FindAllStringSubmatch(lines.([]string)[n-1], -1) {
		names = append(names, "+"+strings.ToLower(strings.Replace(c[1], "', '", "|", 1)))
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; it failed at " + strings.Join(slices.Compact(names), " ")
}

// refusals is a hook that writes a line when Redis refuses commands.
type refusals struct{ troubles *Troubles }

func (r refusals) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r refusals) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		r.note(cmd, err)
		return err
	}
}

func (r refusals) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			r.note(cmd, cmd.Err())
		}
		return err
	}
}

// optional are commands that Gale can do without.
var optional = []string{"info", "config", "hello", "client"}

func (r refusals) note(cmd redis.Cmder, err error) {
	if err == nil || slices.Contains(optional, cmd.Name()) {
		return
	}
	if todo, ok := Refusal(err); ok {
		r.troubles.Note("redis refuses commands", todo, err)
	}
}
