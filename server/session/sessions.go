// Package session keeps values for a client between its requests, in the state that all
// processes and machines share: Redis, or the embedded state server.
//
// The client has a signed cookie with a random token (package cookie). Redis has a hash of
// the session's values under the token's SHA-256, so a copy of Redis opens no session. A
// request writes what it has changed and nothing else, so requests of one client that run
// at the same time keep each other's values. A session that has ended is not brought back
// by a request that began before.
//
// The shared state may be forgotten: without -redis, sessions survive reloads and killed
// processes, but not a crash of the embedded state server.
package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // the scripts
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cookie"
)

//go:embed lua/load.lua
var loadText string

//go:embed lua/save.lua
var saveText string

var (
	loadScript = redisdb.NewScript(loadText)
	saveScript = redisdb.NewScript(saveText)
)

// MaxSize is how large the names and values of a session may be together, in bytes.
const MaxSize = 64 << 10

var (
	// ErrAway is returned while the shared state cannot be reached.
	ErrAway = errors.New("sessions cannot be read or written")
	// ErrTooLarge is a session whose values are larger than MaxSize.
	ErrTooLarge = errors.New("session is too large")
)

// Options configure Sessions. The zero value is the documented default.
type Options struct {
	// Cookie has the token. Default: the name "session", and the defaults of package
	// cookie. Its MaxAge is always Lifetime.
	Cookie cookie.Options
	// Lifetime is how long a session lasts after it began, or after Login. Default 24 h.
	Lifetime time.Duration
	// Idle is how long a session lasts without a request. Default: as long as Lifetime.
	Idle time.Duration
}

// Sessions are those of all clients. They are safe for concurrent use.
type Sessions struct {
	redis  redis.Cmdable
	cookie *cookie.Cookie
	o      Options
}

// New makes sessions on a client of Redis.
func New(client redis.Cmdable, keys *cookie.Keys, o Options) *Sessions {
	o.Lifetime = cmp.Or(max(o.Lifetime, 0), 24*time.Hour)
	o.Idle = max(o.Idle, 0)
	o.Cookie.Name = cmp.Or(o.Cookie.Name, "session")
	o.Cookie.MaxAge = o.Lifetime
	return &Sessions{redis: client, cookie: cookie.New(keys, o.Cookie), o: o}
}

// sessionsKey is where a request has its session.
type sessionKey struct{}

// Of returns the session of a request's client. It reads it when it is first called in a
// request. A client without a session, or with one that has ended, gets an empty one, which
// is kept once it has a value. The route needs Middleware. The error wraps ErrAway.
func (s *Sessions) Of(ctx *fasthttp.RequestCtx) (*Session, error) {
	if known, ok := ctx.UserValue(sessionKey{}).(*Session); ok {
		return known, nil
	}
	token, _ := s.cookie.Get(ctx)
	got := &Session{token: token}
	if token != "" {
		values, err := s.load(ctx, token)
		if err != nil {
			return nil, err
		}
		got.values = values
		if len(values) == 0 {
			got.token, got.stale = "", true
		}
	}
	ctx.SetUserValue(sessionKey{}, got)
	return got, nil
}

// Middleware writes the session that a handler has changed, and sends its cookie. If it
// cannot be written, the error replaces the handler's response; it wraps ErrAway or
// ErrTooLarge.
func (s *Sessions) Middleware(next server.Handler) server.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		err := next(ctx)
		got, ok := ctx.UserValue(sessionKey{}).(*Session)
		if !ok {
			return err
		}
		return errors.Join(err, s.save(ctx, got))
	}
}

// Subject returns the subject that the client's session has been given by Login, or "" if
// there is none. It is for code that has no more than the header. The error wraps ErrAway.
func (s *Sessions) Subject(ctx context.Context, h *fasthttp.RequestHeader) (string, error) {
	token, ok := s.cookie.Read(h)
	if !ok {
		return "", nil
	}
	values, err := s.load(ctx, token)
	return values[subjectField], err
}

// EndAll ends all sessions of a subject, on all machines. The error wraps ErrAway.
func (s *Sessions) EndAll(ctx context.Context, subject string) error {
	tokens, err := s.redis.SMembers(ctx, subjectKey(subject)).Result()
	for _, digest := range tokens {
		if err == nil {
			err = s.redis.Del(ctx, prefix+digest).Err()
		}
	}
	if err == nil {
		err = s.redis.Del(ctx, subjectKey(subject)).Err()
	}
	if err != nil {
		return fmt.Errorf("end sessions: %w: %w", ErrAway, err)
	}
	return nil
}

func (s *Sessions) load(ctx context.Context, token string) (map[string]string, error) {
	list, err := loadScript.Run(ctx, s.redis, []string{prefix + digest(token)}, s.o.Idle.Milliseconds()).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("read session: %w: %w", ErrAway, err)
	}
	values := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		values[list[i]] = list[i+1]
	}
	return values, nil
}

// save writes what has changed. The old token of a session that has been renewed is no
// longer good when the new one is sent.
func (s *Sessions) save(ctx *fasthttp.RequestCtx, got *Session) error {
	if got.ended != "" {
		if err := s.redis.Del(ctx, prefix+digest(got.ended)).Err(); err != nil {
			return fmt.Errorf("end session: %w: %w", ErrAway, err)
		}
	}
	if len(got.set)+len(got.deleted) == 0 {
		if got.token == "" && (got.ended != "" || got.stale) {
			s.cookie.Clear(ctx)
		}
		return nil
	}
	if got.size() > MaxSize {
		return fmt.Errorf("write session: %w: more than %d bytes", ErrTooLarge, MaxSize)
	}
	isNew := got.token == ""
	if isNew {
		got.token = rand.Text() + rand.Text()[:6] // 160 bits
	}
	kept, err := s.write(ctx, got, isNew)
	if err != nil {
		return fmt.Errorf("write session: %w: %w", ErrAway, err)
	}
	if !kept { // another request has ended it
		s.cookie.Clear(ctx)
		return nil
	}
	if !isNew {
		return nil
	}
	return s.cookie.Set(ctx, got.token)
}

func (s *Sessions) write(ctx context.Context, got *Session, isNew bool) (kept bool, err error) {
	key := digest(got.token)
	args := []any{0, s.o.Lifetime.Milliseconds(), s.o.Idle.Milliseconds(), len(got.set)}
	if isNew {
		args[0] = 1
	}
	for name := range got.set {
		args = append(args, name, got.values[name])
	}
	for name := range got.deleted {
		args = append(args, name)
	}
	if subject := got.values[subjectField]; isNew && subject != "" { // before the session is there: EndAll finds it
		if err := s.redis.SAdd(ctx, subjectKey(subject), key).Err(); err != nil {
			return false, err
		}
		if err := s.redis.PExpire(ctx, subjectKey(subject), s.o.Lifetime).Err(); err != nil {
			return false, err
		}
	}
	return saveScript.Run(ctx, s.redis, []string{prefix + key}, args...).Bool()
}

// prefix is in front of the digest of a session's token.
const prefix = "gale:session:"

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func subjectKey(subject string) string { return "gale:sessions-of:" + digest(subject) }
