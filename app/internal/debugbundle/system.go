package debugbundle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// systemFiles describe the machine and the limits of this process (proc(5), cgroups(7)).
var systemFiles = []string{
	"/proc/self/limits", "/proc/self/status", "/proc/self/cgroup", "/proc/version", "/etc/os-release", "/proc/uptime", "/proc/loadavg",
	"/proc/meminfo", "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io", "/proc/net/sockstat",
}

// sysctls are the settings of the kernel that limit a server.
var sysctls = []string{
	"net/core/somaxconn", "net/core/netdev_max_backlog", "net/core/rmem_max", "net/core/wmem_max",
	"net/ipv4/tcp_max_syn_backlog", "net/ipv4/tcp_syncookies", "net/ipv4/ip_local_port_range", "net/ipv4/tcp_fin_timeout",
	"net/ipv4/tcp_tw_reuse", "net/ipv4/tcp_mem", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem", "net/ipv4/tcp_migrate_req",
	"fs/file-max", "fs/file-nr", "fs/nr_open", "fs/inotify/max_user_watches", "vm/overcommit_memory", "vm/swappiness",
	"vm/max_map_count", "kernel/pid_max", "kernel/threads-max", "kernel/yama/ptrace_scope",
}

// cgroupFiles are the limits and the use of a cgroup, version 2.
var cgroupFiles = []string{
	"cpu.max", "cpu.stat", "cpuset.cpus.effective", "memory.max", "memory.high", "memory.current", "memory.peak", "memory.swap.max",
	"memory.events", "pids.max", "pids.current", "io.max",
}

// maxSystemFile is the size up to which a file is included, in bytes.
const maxSystemFile = 16 << 10

// System returns a description of the machine: kernel, limits of this process and of its
// cgroup, memory, load, settings of the kernel, and free space of the folders. What does not
// exist is left out.
func System(folders ...string) string {
	var b strings.Builder
	for _, path := range systemFiles {
		section(&b, path, path)
	}
	cgroup, _ := os.ReadFile("/proc/self/cgroup") // missing: no cgroups
	for line := range strings.Lines(string(cgroup)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue // version 1
		}
		for _, name := range cgroupFiles {
			section(&b, "cgroup "+name, filepath.Join("/sys/fs/cgroup", path, name))
		}
	}
	fmt.Fprintln(&b, "== sysctl")
	for _, name := range sysctls {
		if text, err := os.ReadFile("/proc/sys/" + name); err == nil {
			fmt.Fprintf(&b, "%s = %s\n", strings.ReplaceAll(name, "/", "."), strings.Join(strings.Fields(string(text)), " "))
		}
	}
	fmt.Fprintln(&b, "\n== free space")
	for _, folder := range folders {
		var st unix.Statfs_t
		if err := unix.Statfs(folder, &st); err != nil {
			fmt.Fprintf(&b, "%s: %v\n", folder, err)
			continue
		}
		fmt.Fprintf(&b, "%s: %d of %d bytes, %d of %d files\n", folder, st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize), st.Ffree, st.Files)
	}
	return b.String()
}

// section adds the content of a file, if it can be read.
func section(b *strings.Builder, title, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	fmt.Fprintf(b, "== %s\n%s\n\n", title, strings.TrimSpace(string(text[:min(len(text), maxSystemFile)])))
}
