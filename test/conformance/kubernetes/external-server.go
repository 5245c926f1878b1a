// Package testserver, laid over Kubernetes' own: the server of a test is a process outside of it, in place of an etcd in it.
package testserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const stopTime = 30 * time.Second

// externalServer has what Kubernetes' RunEtcd asks of an embedded etcd.
type externalServer struct {
	Server  *externalServer
	process *exec.Cmd
	urls    []string
	ready   chan struct{}
	ended   chan struct{}
	errors  chan error
	stop    sync.Once
	asked   atomic.Bool // to end: how it does is nobody's concern then
}

func flagsOf(cfg *embed.Config) []string {
	var flags []string
	set := func(name string, value any) { flags = append(flags, fmt.Sprintf("--%s=%v", name, value)) }
	set("data-dir", cfg.Dir)
	set("listen-client-urls", joined(cfg.ListenClientUrls))
	set("advertise-client-urls", joined(cfg.AdvertiseClientUrls))
	if os.Getenv("CONFORMANCE_PEERS") != "" { // for an etcd, to compare with
		set("unsafe-no-fsync", true)
		set("listen-peer-urls", joined(cfg.ListenPeerUrls))
		set("initial-advertise-peer-urls", joined(cfg.AdvertisePeerUrls))
		set("initial-cluster", cfg.InitialCluster)
	}
	set("max-txn-ops", cfg.MaxTxnOps)
	set("max-request-bytes", cfg.MaxRequestBytes)
	set("quota-backend-bytes", max(cfg.QuotaBackendBytes, 0))
	if cfg.WatchProgressNotifyInterval > 0 {
		set("watch-progress-notify-interval", cfg.WatchProgressNotifyInterval)
	}
	if info := cfg.ClientTLSInfo; !info.Empty() {
		set("cert-file", info.CertFile)
		set("key-file", info.KeyFile)
		set("trusted-ca-file", info.TrustedCAFile)
		set("client-cert-auth", info.ClientCertAuth)
	}
	return flags
}

func joined(urls []url.URL) string {
	var texts []string
	for _, one := range urls {
		texts = append(texts, one.String())
	}
	return strings.Join(texts, ",")
}

// startExternalServer starts the process; what is said of its readiness comes by ReadyNotify, of an early end by Err.
func startExternalServer(t testing.TB, cfg *embed.Config) (*externalServer, error) {
	program := os.Getenv("CONFORMANCE_SERVER")
	if program == "" {
		return nil, errors.New("CONFORMANCE_SERVER is not set")
	}
	s := &externalServer{
		process: exec.Command(program, flagsOf(cfg)...), urls: strings.Split(joined(cfg.AdvertiseClientUrls), ","),
		ready: make(chan struct{}), ended: make(chan struct{}), errors: make(chan error, 1),
	}
	s.Server = s
	output, err := s.process.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go s.follow(t, output)
	return s, nil
}

func (s *externalServer) follow(t testing.TB, output io.Reader) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	served := false
	var last string
	for lines.Scan() {
		last = lines.Text()
		if !served && strings.Contains(last, "ready to serve client requests") {
			served = true
			close(s.ready)
		} else if os.Getenv("CONFORMANCE_LOG") != "" {
			fmt.Fprintf(os.Stderr, "server of %s: %s\n", t.Name(), last)
		}
	}
	err := s.process.Wait()
	if !s.asked.Load() {
		s.errors <- fmt.Errorf("the server ended: %v: %s", err, last)
	}
	close(s.errors)
	close(s.ended)
}

func (s *externalServer) ReadyNotify() <-chan struct{} { return s.ready }
func (s *externalServer) Err() <-chan error            { return s.errors }
func (s *externalServer) Cluster() *externalServer     { return s }
func (s *externalServer) ClientURLs() []string         { return s.urls }
func (s *externalServer) Stop()                        { s.Close() }

func (s *externalServer) Close() {
	s.stop.Do(func() {
		s.asked.Store(true)
		s.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.ended:
		case <-time.After(stopTime):
			s.process.Process.Kill()
			<-s.ended
		}
	})
}
