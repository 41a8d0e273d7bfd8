package prefork

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// backlog is the length of an accept queue passed to listen(2). The kernel limits it
// to net.core.somaxconn.
const backlog = 4096

// listenGroup opens n listening sockets on one TCP address. They form a SO_REUSEPORT
// group (socket(7)), over which the kernel distributes new connections. With port 0
// the kernel chooses a free port for the group.
//
// The first socket is bound without SO_REUSEPORT, which is set between bind and
// listen. A second server on the same port therefore gets "address already in use".
// Otherwise it would silently get half of the connections.
//
// The descriptors are raw, non-blocking and close-on-exec. os.File is not used,
// because os.File.Fd would make the open file description blocking, and the children
// share it (golang/go#24942, #29277).
func listenGroup(address string, n int) (fds []int, addr *net.TCPAddr, err error) {
	addr, err = net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("resolve address: %w", err)
	}
	if addr.IP.Equal(net.IPv6unspecified) {
		addr.IP = nil // all IPv4 and IPv6 addresses, see listenOne
	}
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	for i := range n {
		fd, err := listenOne(addr, i > 0)
		if err != nil {
			return fds, nil, fmt.Errorf("listen on %s: %w", address, err)
		}
		fds = append(fds, fd)
		if addr, err = boundTo(fd); err != nil {
			return fds, nil, fmt.Errorf("listen on %s: %w", address, err)
		}
	}
	return fds, addr, nil
}

// listenOne opens one socket of a group. join is false for the first socket, which is
// bound without SO_REUSEPORT.
func listenOne(addr *net.TCPAddr, join bool) (fd int, err error) {
	family, sa := sockaddr(addr)
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errors.Is(err, unix.EAFNOSUPPORT) && len(addr.IP) == 0 { // the kernel has no IPv6
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port}
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	}
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	set := func(level, option, value int) {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, value))
		}
	}
	set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if family == unix.AF_INET6 {
		v6only := 1
		if len(addr.IP) == 0 { // all IPv4 and IPv6 addresses, as net.Listen does
			v6only = 0
		}
		set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only)
	}
	if join {
		set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sa))
	}
	if !join {
		set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	return fd, err
}

// sockaddr converts an address for bind(2). An empty IP means all IPv4 and IPv6
// addresses.
func sockaddr(addr *net.TCPAddr) (family int, sa unix.Sockaddr) {
	if ip := addr.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	}
	sa6 := &unix.SockaddrInet6{Port: addr.Port}
	copy(sa6.Addr[:], addr.IP)
	if iface, err := net.InterfaceByName(addr.Zone); err == nil {
		sa6.ZoneId = uint32(iface.Index)
	}
	return unix.AF_INET6, sa6
}

// boundTo returns the address that a socket is bound to, with the port that the kernel
// chose.
func boundTo(fd int) (*net.TCPAddr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: net.IP(sa.Addr[:]), Port: sa.Port}, nil
	case *unix.SockaddrInet6:
		addr := &net.TCPAddr{Port: sa.Port}
		if ip := net.IP(sa.Addr[:]); !ip.IsUnspecified() {
			addr.IP = ip
		}
		if iface, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
			addr.Zone = iface.Name
		}
		return addr, nil
	}
	return nil, fmt.Errorf("unexpected socket address %T", sa)
}

// acceptQueue returns the number of connections in the accept queue of a listening
// socket: tcpi_unacked of TCP_INFO, for a socket in the state LISTEN.
func acceptQueue(fd int) int {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Unacked)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
