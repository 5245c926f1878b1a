package main

import (
	"io"
	"net"
	"sync"
)

// A proxy passes bytes on to a server, and can lose its connections.
type proxy struct {
	listener net.Listener
	target   string
	mutex    sync.Mutex
	open     []net.Conn
}

func (w *world) proxy() *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err, "listen")
	p := &proxy{listener: listener, target: w.endpoint}
	w.closers = append(w.closers, func() { listener.Close(); p.cut() })
	go p.serve()
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mutex.Lock()
		p.open = append(p.open, client, server)
		p.mutex.Unlock()
		go pass(server, client)
		go pass(client, server)
	}
}

func pass(to, from net.Conn) {
	io.Copy(to, from)
	to.Close()
}

// cut ends all connections, as a network does: without a word in the protocol.
func (p *proxy) cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, connection := range p.open {
		connection.Close()
	}
	p.open = nil
}
