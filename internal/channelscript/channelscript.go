// Package channelscript holds the scripts that store the messages of channels in Redis:
// server/realtime calls them, and the embedded state server executes them without Lua.
package channelscript

import (
	_ "embed" // the scripts
	"strconv"
	"time"

	"github.com/galeserver/gale/internal/redisdb"
)

var (
	//go:embed publish.lua
	publishText string
	//go:embed tail.lua
	tailText string
)

var (
	// Publish numbers a message, stores it and publishes it.
	Publish = redisdb.NewScript(publishText)
	// Tail returns the stored messages of a channel, and the number of the last one.
	Tail = redisdb.NewScript(tailText)
)

// FirstNumber is the number before the first one of a channel that is created at a time.
func FirstNumber(now time.Time) string { return strconv.FormatInt(now.UnixMicro(), 10) }
