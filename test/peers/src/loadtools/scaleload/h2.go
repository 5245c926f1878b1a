package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// A gRPC client of few instructions: HTTP/2 frames on a plain socket, requests whose headers are
// written as literals, responses whose headers are not looked at (a call that ends without a
// message has failed). It shares two cores with the server that it measures.

const (
	frameData         = 0
	frameHeaders      = 1
	frameRst          = 3
	frameSettings     = 4
	framePing         = 6
	frameGoaway       = 7
	frameWindowUpdate = 8

	flagEndStream  = 1
	flagAck        = 1
	flagEndHeaders = 4

	windowMax   = 1<<31 - 1
	windowStart = 65535
	topUpBytes  = 64 << 20
	messageMax  = 16 << 20
)

// stream takes what arrives on one call; its methods run on the connection's reader.
type stream struct {
	id        uint32
	onMessage func(message []byte)
	onEnd     func()
	partial   []byte
	received  uint32
	window    int64
}

type conn struct {
	c         net.Conn
	authority string
	mu        sync.Mutex
	room      *sync.Cond
	streams   map[uint32]*stream
	next      uint32
	window    int64
	initial   int64
	received  uint32
	out       []byte
	err       error
}

func dial(endpoint string) (*conn, error) {
	c, err := net.Dial("tcp", endpoint)
	if err != nil {
		return nil, err
	}
	h := &conn{c: c, authority: endpoint, streams: map[uint32]*stream{}, next: 1, window: windowStart, initial: windowStart}
	h.room = sync.NewCond(&h.mu)
	b := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	b = appendFrame(b, frameSettings, 0, 0, 12)
	b = append(b, 0, 2, 0, 0, 0, 0, 0, 4)
	b = binary.BigEndian.AppendUint32(b, windowMax)
	b = appendUint32Frame(b, frameWindowUpdate, 0, windowMax-windowStart)
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	go h.read()
	return h, nil
}

func appendFrame(b []byte, kind, flags byte, id uint32, n int) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return binary.BigEndian.AppendUint32(b, id)
}

func appendUint32Frame(b []byte, kind byte, id, value uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, kind, 0, id, 4), value)
}

// Names and values here are below 127 bytes.
func appendText(b []byte, text string) []byte { return append(append(b, byte(len(text))), text...) }

func (h *conn) headers(path string) []byte {
	b := []byte{0x83, 0x86}
	b = appendText(append(b, 0x04), path)
	b = appendText(append(b, 0x01), h.authority)
	b = appendText(append(b, 0x0f, 0x10), "application/grpc")
	return appendText(appendText(append(b, 0x00), "te"), "trailers")
}

// open begins a call. Messages follow by send.
func (h *conn) open(path string, onMessage func([]byte), onEnd func()) *stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &stream{id: h.next, onMessage: onMessage, onEnd: onEnd, window: h.initial}
	h.next += 2
	h.streams[s.id] = s
	block := h.headers(path)
	h.out = appendFrame(h.out[:0], frameHeaders, flagEndHeaders, s.id, len(block))
	h.out = append(h.out, block...)
	h.write(h.out)
	return s
}

// send waits until the peer's windows have room. Several messages may go in one call.
func (h *conn) send(s *stream, end bool, messages ...[]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out = h.out[:0]
	for i, m := range messages {
		n := int64(len(m) + 5)
		for h.err == nil && (h.window < n || s.window < n) {
			if len(h.out) > 0 {
				h.write(h.out)
				h.out = h.out[:0]
			}
			h.room.Wait()
		}
		h.window -= n
		s.window -= n
		flags := byte(0)
		if end && i == len(messages)-1 {
			flags = flagEndStream
		}
		h.out = appendFrame(h.out, frameData, flags, s.id, len(m)+5)
		h.out = binary.BigEndian.AppendUint32(append(h.out, 0), uint32(len(m)))
		h.out = append(h.out, m...)
	}
	h.write(h.out)
}

// call makes a unary call: done gets its message (valid until it returns), or nil if it failed.
func (h *conn) call(path string, message []byte, done func(message []byte)) {
	answered := false
	s := h.open(path, func(m []byte) { answered = true; done(m) }, func() {
		if !answered {
			done(nil)
		}
	})
	h.send(s, true, message)
}

func (h *conn) write(b []byte) {
	if _, err := h.c.Write(b); err != nil && h.err == nil {
		h.err = err
	}
}

func (h *conn) read() {
	err := h.readFrames()
	h.mu.Lock()
	h.err = err
	ended := h.streams
	h.streams = map[uint32]*stream{}
	h.room.Broadcast()
	h.mu.Unlock()
	for _, s := range ended {
		s.onEnd()
	}
}

func (h *conn) readFrames() error {
	r := bufio.NewReaderSize(h.c, 256<<10)
	var head [9]byte
	body := make([]byte, 1<<14)
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		if n > len(body) {
			return fmt.Errorf("a frame of %d bytes", n)
		}
		// What lies in the reader's buffer is parsed there.
		payload := body[:n]
		if n <= r.Size() {
			peeked, err := r.Peek(n)
			if err != nil {
				return err
			}
			payload = peeked
		}
		id := binary.BigEndian.Uint32(head[5:]) & windowMax
		if err := h.frame(head[3], head[4], id, payload); err != nil {
			return err
		}
		if _, err := r.Discard(n); err != nil {
			return err
		}
	}
}

func (h *conn) frame(kind, flags byte, id uint32, p []byte) error {
	switch kind {
	case frameData:
		h.topUp(id, len(p))
		if s := h.find(id); s != nil {
			s.take(p)
		}
		if flags&flagEndStream != 0 {
			h.end(id)
		}
	case frameHeaders:
		if flags&flagEndStream != 0 {
			h.end(id)
		}
	case frameRst:
		h.end(id)
	case frameSettings:
		if flags&flagAck == 0 {
			h.settings(p)
		}
	case framePing:
		if flags&flagAck == 0 {
			h.mu.Lock()
			h.out = append(appendFrame(h.out[:0], framePing, flagAck, 0, 8), p...)
			h.write(h.out)
			h.mu.Unlock()
		}
	case frameWindowUpdate:
		h.mu.Lock()
		more := int64(binary.BigEndian.Uint32(p) & windowMax)
		if id == 0 {
			h.window += more
		} else if s := h.streams[id]; s != nil {
			s.window += more
		}
		h.room.Broadcast()
		h.mu.Unlock()
	case frameGoaway:
		return fmt.Errorf("the server said GOAWAY: %q", p[8:])
	}
	return nil
}

func (h *conn) find(id uint32) *stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[id]
}

func (h *conn) end(id uint32) {
	h.mu.Lock()
	s := h.streams[id]
	delete(h.streams, id)
	h.mu.Unlock()
	if s != nil {
		s.onEnd()
	}
}

func (h *conn) settings(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ; len(p) >= 6; p = p[6:] {
		if binary.BigEndian.Uint16(p) != 4 {
			continue
		}
		value := int64(binary.BigEndian.Uint32(p[2:]))
		for _, s := range h.streams {
			s.window += value - h.initial
		}
		h.initial = value
	}
	h.write(appendFrame(h.out[:0], frameSettings, flagAck, 0, 0))
	h.room.Broadcast()
}

func (h *conn) topUp(id uint32, n int) {
	h.received += uint32(n)
	s := h.find(id)
	if s != nil {
		s.received += uint32(n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.received >= topUpBytes {
		h.write(appendUint32Frame(h.out[:0], frameWindowUpdate, 0, h.received))
		h.received = 0
	}
	if s != nil && s.received >= topUpBytes {
		h.write(appendUint32Frame(h.out[:0], frameWindowUpdate, id, s.received))
		s.received = 0
	}
}

func (s *stream) take(p []byte) {
	if len(s.partial) > 0 {
		s.partial = append(s.partial, p...)
		p = s.partial
	}
	for len(p) >= 5 {
		n := int(binary.BigEndian.Uint32(p[1:]))
		if n > messageMax {
			panic("a message is too large")
		}
		if len(p) < 5+n {
			break
		}
		s.onMessage(p[5 : 5+n])
		p = p[5+n:]
	}
	s.partial = append(s.partial[:0], p...)
}
