// Package integration, laid over etcd's own: members are processes outside of the test, in place of servers in it. A
// member's listeners stay where etcd's framework made them, and what comes in there is passed on, byte by byte.
package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/testutil"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
)

const startTime, stopTime = 60 * time.Second, 30 * time.Second

var servedAt = regexp.MustCompile(`ready to serve client requests +url=https?://([^ ,]+)`)

// externalServer is one process, and the connections that are passed on to it.
type externalServer struct {
	process *exec.Cmd
	address string
	ended   chan struct{}
	mu      sync.Mutex
	closed  bool
	open    map[net.Conn]struct{}
	passing sync.WaitGroup
}

var externalServers sync.Map // *Member → *externalServer

func (m *Member) externalFlags() []string {
	scheme := "http"
	var flags []string
	set := func(name string, value any) { flags = append(flags, fmt.Sprintf("--%s=%v", name, value)) }
	if info := m.ClientTLSInfo; info != nil && !info.Empty() {
		scheme = "https"
		set("cert-file", info.CertFile)
		set("key-file", info.KeyFile)
		set("trusted-ca-file", info.TrustedCAFile)
		set("client-cert-auth", info.ClientCertAuth)
		var suites []string
		for _, suite := range info.CipherSuites {
			suites = append(suites, tls.CipherSuiteName(suite))
		}
		if suites != nil {
			set("cipher-suites", strings.Join(suites, ","))
		}
		if info.MaxVersion == tls.VersionTLS12 {
			set("tls-max-version", "TLS1.2")
		}
	}
	set("log-format", "console")
	set("name", m.Name)
	set("data-dir", m.DataDir)
	set("listen-client-urls", scheme+"://127.0.0.1:0")
	set("advertise-client-urls", strings.Join(m.ClientURLs.StringSlice(), ","))
	set("auth-token", m.AuthToken)
	set("bcrypt-cost", m.BcryptCost)
	set("max-txn-ops", m.MaxTxnOps)
	set("max-request-bytes", m.MaxRequestBytes)
	if m.QuotaBackendBytes != 0 {
		set("quota-backend-bytes", m.QuotaBackendBytes)
	}
	interval := m.WatchProgressNotifyInterval
	if interval == 0 {
		interval = v3rpc.GetProgressReportInterval() // tests set it for all servers in them
	}
	set("watch-progress-notify-interval", interval)
	if m.keepAliveMinTime != 0 {
		set("grpc-keepalive-min-time", m.keepAliveMinTime)
	}
	if m.keepAliveInterval != 0 {
		set("grpc-keepalive-interval", m.keepAliveInterval)
		set("grpc-keepalive-timeout", m.keepAliveTimeout)
	}
	if m.Metrics != "" {
		set("metrics", m.Metrics)
	}
	return flags
}

// Launch starts the process and waits until it serves.
func (m *Member) Launch() error {
	program := os.Getenv("CONFORMANCE_SERVER")
	if program == "" {
		return errors.New("CONFORMANCE_SERVER is not set")
	}
	process := exec.Command(program, m.externalFlags()...)
	output, err := process.StderrPipe()
	if err != nil {
		return err
	}
	if err := process.Start(); err != nil {
		return err
	}
	server := &externalServer{process: process, ended: make(chan struct{}), open: map[net.Conn]struct{}{}}
	ready := make(chan string, 1)
	go func() {
		defer close(server.ended)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			m.Logger.Info("server: " + lines.Text())
			if found := servedAt.FindStringSubmatch(lines.Text()); found != nil {
				ready <- found[1]
			}
		}
		process.Wait()
	}()
	select {
	case server.address = <-ready:
	case <-server.ended:
		return fmt.Errorf("%s ended before it served", program)
	case <-time.After(startTime):
		process.Process.Kill()
		return fmt.Errorf("%s did not serve within %s", program, startTime)
	}
	externalServers.Store(m, server)
	for _, listener := range append([]net.Listener{m.GRPCListener}, m.ClientListeners...) {
		if listener != nil {
			server.pass(listener)
		}
	}
	if m.GRPCURL != "" && m.Client == nil {
		if m.Client, err = NewClientV3(m); err != nil {
			return err
		}
	}
	m.Closed = false
	return nil
}

func (s *externalServer) pass(listener net.Listener) {
	s.passing.Add(1)
	go func() {
		defer s.passing.Done()
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", s.address)
			if err != nil {
				client.Close()
				continue
			}
			if !s.keep(client, server) {
				return
			}
			s.passing.Add(2)
			go s.copy(client, server)
			go s.copy(server, client)
		}
	}()
}

func (s *externalServer) keep(both ...net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, connection := range both {
		if s.closed {
			connection.Close()
		} else {
			s.open[connection] = struct{}{}
		}
	}
	return !s.closed
}

func (s *externalServer) copy(to, from net.Conn) {
	defer s.passing.Done()
	io.Copy(to, from)
	to.Close()
	from.Close()
	s.mu.Lock()
	delete(s.open, from)
	delete(s.open, to)
	s.mu.Unlock()
}

// Close stops the process, and frees the addresses for the next Launch.
func (m *Member) Close() {
	if m.GRPCBridge != nil {
		m.GRPCBridge.Close()
		m.GRPCBridge = nil
	}
	for _, listener := range append(append([]net.Listener{m.GRPCListener}, m.ClientListeners...), m.PeerListeners...) {
		if listener != nil {
			listener.Close()
		}
	}
	m.Closed = true
	kept, found := externalServers.LoadAndDelete(m)
	if !found {
		return
	}
	server := kept.(*externalServer)
	server.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-server.ended:
	case <-time.After(stopTime):
		server.process.Process.Kill()
		<-server.ended
	}
	server.mu.Lock()
	server.closed = true
	for connection := range server.open {
		connection.Close()
	}
	server.mu.Unlock()
	server.passing.Wait()
}

// ID asks the server.
func (m *Member) ID() types.ID {
	ctx, cancel := context.WithTimeout(context.Background(), RequestTimeout)
	defer cancel()
	answer, err := ToGRPC(m.Client).Cluster.MemberList(ctx, &pb.MemberListRequest{})
	if err != nil {
		panic(err)
	}
	return types.ID(answer.Header.MemberId)
}

func (c *Cluster) Launch(t testutil.TB) {
	for _, m := range c.Members {
		if err := m.Launch(); err != nil {
			c.Terminate(t)
			t.Fatalf("error setting up member: %v", err)
		}
	}
}

// WaitMembersForLeader waits until reads are answered: of one member it is the one that leads.
func (c *Cluster) WaitMembersForLeader(t testing.TB, membs []*Member) int {
	for _, m := range membs {
		m.WaitOK(t)
	}
	return 0
}

func (c *Cluster) WaitMembersMatch(testutil.TB, []*pb.Member) {}

// WaitOK waits until linearizable reads are answered.
func (m *Member) WaitOK(t testutil.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), RequestTimeout)
	defer cancel()
	for {
		if _, err := m.Client.Get(ctx, "/", clientv3.WithCountOnly()); err == nil {
			return
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// NewCluster is etcd's own, of one member. A test that reaches for the second one ends there: index out of range.
func NewCluster(t testutil.TB, cfg *ClusterConfig) *Cluster {
	t.Helper()
	if cfg.Size > 1 {
		t.Logf("%d members asked for, one given", cfg.Size)
		cfg.Size = 1
	}
	if len(cfg.GRPCAdditionalServerOptions) > 0 {
		t.(interface{ Skip(...any) }).Skip("left out: options of a server in the test")
	}
	return newClusterOfServersInTest(t, cfg)
}
