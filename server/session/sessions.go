// Package session stores values of a client between its requests. All processes and
// machines share them, in Redis or in the embedded state server.
//
// The client has a signed cookie with a random token (package cookie). The values are in a
// Redis hash whose key contains the SHA-256 of the token, so the data in Redis is not enough
// to take over a session. A request writes only the values that it has changed, so
// concurrent requests of one client do not overwrite each other's values. A request that
// started before a session ended does not restore the session.
//
// The shared state may be lost: without -redis, sessions survive reloads and killed
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

//go:embed lua/index.lua
var indexText string

//go:embed lua/save.lua
var saveText string

var (
	loadScript  = redisdb.NewScript(loadText)
	indexScript = redisdb.NewScript(indexText)
	saveScript  = redisdb.NewScript(saveText)
)

// MaxSize is the limit of all names and values of a session together, in bytes.
const MaxSize = 64 << 10

var (
	// ErrAway is the error while Redis, or the embedded state server, is not available.
	ErrAway = errors.New("sessions cannot be read or written")
	// ErrTooLarge is the error of Middleware for a session larger than MaxSize.
	ErrTooLarge = errors.New("session is too large")
)

// Options configure Sessions. The zero value is the documented default.
type Options struct {
	// Cookie configures the cookie that holds the token. Default: the name "session",
	// and the defaults of package cookie. Its MaxAge is always Lifetime.
	Cookie cookie.Options
	// Lifetime is the time from the first value, or from the last Login, until the
	// session ends. Default 24 h.
	Lifetime time.Duration
	// Idle is how long a session may go without a request that uses it. Default: as long
	// as Lifetime.
	Idle time.Duration
}

// Sessions reads and writes the sessions of all clients. It is safe for concurrent use.
type Sessions struct {
	redis  redis.Cmdable
	cookie *cookie.Cookie
	o      Options
}

// New returns Sessions that are stored in Redis by client and whose cookies are signed
// with keys.
func New(client redis.Cmdable, keys *cookie.Keys, o Options) *Sessions {
	o.Lifetime = cmp.Or(max(o.Lifetime, 0), 24*time.Hour)
	o.Idle = max(o.Idle, 0)
	o.Cookie.Name = cmp.Or(o.Cookie.Name, "session")
	o.Cookie.MaxAge = o.Lifetime
	return &Sessions{redis: client, cookie: cookie.New(keys, o.Cookie), o: o}
}

// sessionKey is the key of the session in the user values of a request.
type sessionKey struct{}

// Of returns the session of the client. The first call in a request reads the session from
// Redis, unless the request was admitted with one (see Read); later calls return the same
// one. A client without a session, or whose session has
// ended, gets an empty one, which is stored only if the handler sets a value. The route
// needs Middleware, which package app adds to every route; without it no change is stored.
// The response gets Vary: Cookie, so that caches do not send it to other clients. The error
// wraps ErrAway.
func (s *Sessions) Of(ctx *fasthttp.RequestCtx) (*Session, error) {
	if known, ok := ctx.UserValue(sessionKey{}).(*Session); ok {
		return known, nil
	}
	got, err := s.Read(ctx, &ctx.Request.Header)
	if err != nil {
		return nil, err
	}
	ctx.SetUserValue(sessionKey{}, got)
	ctx.Response.Header.Add(fasthttp.HeaderVary, fasthttp.HeaderCookie)
	return got, nil
}

// Read reads the session of the client by the head of a request. It is for a
// server.Route.Admit that needs the session to decide: it returns Session.Admission, and
// Of then returns the same session without another read. The error wraps ErrAway.
func (s *Sessions) Read(ctx context.Context, h *fasthttp.RequestHeader) (*Session, error) {
	token, ok := s.cookie.Read(h)
	if !ok || token == "" {
		return &Session{}, nil
	}
	values, err := s.load(ctx, token)
	switch {
	case err != nil:
		return nil, err
	case len(values) == 0:
		return &Session{stale: true}, nil
	}
	return &Session{token: token, values: values}, nil
}

// Middleware stores the changes of a session when the handler has returned, even if the
// handler has returned an error, and sends the cookie of a new session. If it cannot store
// them, it returns an error that wraps ErrAway or ErrTooLarge, which replaces the handler's
// response.
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

// EndAll ends all sessions of a subject, on all machines. The error wraps ErrAway.
func (s *Sessions) EndAll(ctx context.Context, subject string) error {
	tokens, err := s.redis.SMembers(ctx, subjectKey(subject)).Result()
	for _, digest := range tokens {
		if err == nil {
			err = s.redis.Del(ctx, prefix+digest).Err()
		}
	}
	if err == nil && len(tokens) > 0 {
		err = s.redis.SRem(ctx, subjectKey(subject), tokens).Err() // a login at the same time may have added another one
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

// save writes the changes of a session. For a renewed session it deletes the old token
// before it sends the new one.
func (s *Sessions) save(ctx *fasthttp.RequestCtx, got *Session) error {
	if got.endedToken != "" {
		if err := s.redis.Del(ctx, prefix+digest(got.endedToken)).Err(); err != nil {
			return fmt.Errorf("end session: %w: %w", ErrAway, err)
		}
	}
	if len(got.set)+len(got.deleted) == 0 {
		if got.token == "" && (got.endedToken != "" || got.stale) {
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
	save := func() (bool, error) { return saveScript.Run(ctx, s.redis, []string{prefix + key}, args...).Bool() }
	subject := got.values[subjectField]
	if !isNew || subject == "" {
		return save()
	}
	// EndAll must find every stored session. It may run between these steps and remove the
	// session from the set before it is stored, so the session is added again.
	if err = s.index(ctx, subject, key); err == nil {
		if kept, err = save(); err == nil {
			err = s.index(ctx, subject, key)
		}
	}
	return kept, err
}

// index adds a session to the set of its subject.
func (s *Sessions) index(ctx context.Context, subject, key string) error {
	return indexScript.Run(ctx, s.redis, []string{subjectKey(subject)}, key, s.o.Lifetime.Milliseconds()).Err()
}

// prefix is the beginning of the Redis key of a session. The digest of its token follows.
const prefix = "gale:session:"

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func subjectKey(subject string) string { return "gale:sessions-of:" + digest(subject) }
