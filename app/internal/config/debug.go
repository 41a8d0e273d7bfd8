package config

import "time"

// maxCPUProfile is the largest value of -cpu-profile. The admin endpoint serves no longer
// profiles.
const maxCPUProfile = time.Minute

// DebugOptions are the settings of the command debug.
type DebugOptions struct {
	Config                   // only Admin and Token are set
	CPUProfile time.Duration // duration of the CPU profiles; 0: none
	Timeout    time.Duration // time to wait for each part, in addition to CPUProfile
}

// defineDebug declares the flags of the command debug.
func defineDebug(p *Program, o *DebugOptions) *flags {
	f := defineSubset(p, Debug, &o.Config, "admin", "token", "token-file")
	f.set.DurationVar(&o.CPUProfile, "cpu-profile", 5*time.Second, "`duration` of the CPU profiles of all processes, at most 1m, in whole seconds; 0 is none")
	f.set.DurationVar(&o.Timeout, "timeout", 10*time.Second, "`duration` to wait for each part of the archive, besides -cpu-profile")
	f.commandLineOnly = []string{"cpu-profile", "timeout"}
	return f
}

// LoadDebug is like Load for the command debug.
func LoadDebug(p *Program, args, environ []string) (DebugOptions, error) {
	var o DebugOptions
	f := defineDebug(p, &o)
	if err := f.load(args, environ); err != nil {
		return o, err
	}
	f.checkAdmin(o.Admin)
	if o.Admin == "" {
		f.fault("-admin: must not be empty: the admin endpoint has the content of the archive")
	}
	f.loadToken(&o.Config)
	if o.CPUProfile < 0 || o.CPUProfile > maxCPUProfile || o.CPUProfile%time.Second != 0 {
		f.fault("-cpu-profile: %v is not a number of whole seconds up to %v", o.CPUProfile, maxCPUProfile)
	}
	f.checkPositive("timeout", o.Timeout > 0)
	if len(f.faults) > 0 {
		return o, f.faults
	}
	return o, nil
}
