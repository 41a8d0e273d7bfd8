package config

import (
	"cmp"
	"time"
)

// Top is the command that shows a server in a terminal.
const Top Command = "top"

// minTopInterval is the smallest value of -interval.
const minTopInterval = 100 * time.Millisecond

// TopOptions are the settings of the command top.
type TopOptions struct {
	Config   // only Admin, Data, Redis and Broker are set
	Interval time.Duration
}

// LoadTop is like Load for the command top.
func LoadTop(p *Program, args, environ []string) (TopOptions, error) {
	var o TopOptions
	f := defineTop(p, &o)
	if err := f.load(args, environ); err != nil {
		return o, err
	}
	o.Broker = cmp.Or(o.Broker, o.Redis, SQLite)
	f.checkAdmin(o.Admin)
	f.checkTaskStore(o.Config)
	if o.Interval < minTopInterval {
		f.fault("-interval: %v is less than %v", o.Interval, minTopInterval)
	}
	if len(f.faults) > 0 {
		return o, f.faults
	}
	return o, nil
}

// defineTop declares the flags of the command top.
func defineTop(p *Program, o *TopOptions) *flags {
	f := defineSubset(p, Top, &o.Config, "admin", "data", "redis", "broker")
	f.set.DurationVar(&o.Interval, "interval", time.Second, "`duration` between two reads of the server, at least 100ms")
	f.commandLineOnly = []string{"interval"}
	return f
}
