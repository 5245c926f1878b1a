package main

import "encoding/binary"

// The few messages of etcd's API that are sent and read, by field number.

func number(b []byte, field int, value uint64) []byte {
	if value == 0 {
		return b
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(field<<3)), value)
}

func bytesField(b []byte, field int, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field<<3|2))
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

func putRequest(key, value []byte, lease uint64) []byte {
	return number(bytesField(bytesField(nil, 1, key), 2, value), 3, lease)
}

func watchRequest(key, end []byte) []byte {
	return bytesField(nil, 1, bytesField(bytesField(nil, 1, key), 2, end))
}

func grantRequest(ttl uint64) []byte { return number(nil, 1, ttl) }

func leaseRequest(id uint64) []byte { return number(nil, 1, id) }

// fields calls visit for each field: numbers with value, others with bytes. It panics on what is no message.
func fields(b []byte, visit func(field int, value uint64, bytes []byte)) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			panic("a tag is cut")
		}
		b = b[n:]
		value, n := binary.Uvarint(b)
		if n <= 0 {
			panic("a field is cut")
		}
		b = b[n:]
		switch tag & 7 {
		case 0:
			visit(int(tag>>3), value, nil)
		case 2:
			visit(int(tag>>3), 0, b[:value])
			b = b[value:]
		default:
			panic("a wire type that etcd does not use")
		}
	}
}
