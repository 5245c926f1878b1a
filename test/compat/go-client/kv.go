package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var kvCases = []testCase{
	{"kv: put, get, delete", func(w *world) {
		first := w.put("a", "1")
		second, err := w.Put(w, w.key("a"), "2", clientv3.WithPrevKV())
		w.ok(err, "put")
		w.equal(second.Header.Revision, first+1, "revision")
		w.equal(string(second.PrevKv.Value), "1", "previous value")
		got, err := w.Get(w, w.key("a"))
		w.ok(err, "get")
		kv := got.Kvs[0]
		w.equal([]int64{kv.CreateRevision, kv.ModRevision, kv.Version}, []int64{first, first + 1, 2}, "revisions")
		old, err := w.Get(w, w.key("a"), clientv3.WithRev(first))
		w.ok(err, "get of the past")
		w.equal(string(old.Kvs[0].Value), "1", "value of the past")
		deleted, err := w.Delete(w, w.key("a"), clientv3.WithPrevKV())
		w.ok(err, "delete")
		w.equal([]any{deleted.Deleted, string(deleted.PrevKvs[0].Value)}, []any{int64(1), "2"}, "deleted")
		again, err := w.Delete(w, w.key("a"))
		w.ok(err, "delete of nothing")
		w.equal([]int64{again.Deleted, again.Header.Revision}, []int64{0, deleted.Header.Revision}, "delete of nothing")
	}},
	{"kv: ranges, sorted, limited, counted", func(w *world) {
		for i, name := range []string{"c", "a", "b"} {
			w.put(name, fmt.Sprint(9-i))
		}
		all, err := w.Get(w, w.prefix, clientv3.WithPrefix(), clientv3.WithLimit(2))
		w.ok(err, "get")
		w.equal([]any{len(all.Kvs), all.Count, all.More}, []any{2, int64(3), true}, "limited")
		w.equal(string(all.Kvs[0].Key), w.key("a"), "in order of keys")
		byValue, err := w.Get(w, w.prefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend))
		w.ok(err, "sorted")
		w.equal(string(byValue.Kvs[0].Key), w.key("b"), "least value first")
		newest, err := w.Get(w, w.prefix, clientv3.WithLastRev()...)
		w.ok(err, "last revision")
		w.equal(string(newest.Kvs[0].Key), w.key("b"), "newest")
		count, err := w.Get(w, w.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		w.ok(err, "count")
		w.equal([]any{count.Count, len(count.Kvs)}, []any{int64(3), 0}, "counted")
		keys, err := w.Get(w, w.key("b"), clientv3.WithRange(w.prefix+"zz"), clientv3.WithKeysOnly(), clientv3.WithSerializable())
		w.ok(err, "keys")
		w.equal([]any{len(keys.Kvs), len(keys.Kvs[0].Value)}, []any{2, 0}, "keys only")
	}},
	{"kv: errors keep their identity", func(w *world) {
		_, err := w.Put(w, "", "v")
		w.fails(err, rpctypes.ErrEmptyKey, "put of no key")
		_, err = w.Put(w, w.key("k"), "v", clientv3.WithLease(12345))
		w.fails(err, rpctypes.ErrLeaseNotFound, "put with no such lease")
		_, err = w.Put(w, w.key("none"), "", clientv3.WithIgnoreValue())
		w.fails(err, rpctypes.ErrKeyNotFound, "ignore value")
		_, err = w.Get(w, w.key("k"), clientv3.WithRev(1<<40))
		w.fails(err, rpctypes.ErrFutureRev, "get of the future")
		_, err = w.Compact(w, 1<<40)
		w.fails(err, rpctypes.ErrFutureRev, "compaction of the future")
		_, err = w.Put(w, w.key("k"), strings.Repeat("x", 1600000))
		w.fails(err, rpctypes.ErrRequestTooLarge, "put over 1.5 MiB")
		var ops []clientv3.Op
		for i := range 129 {
			ops = append(ops, clientv3.OpPut(w.key(fmt.Sprint(i)), ""))
		}
		_, err = w.Txn(w).Then(ops...).Commit()
		w.fails(err, rpctypes.ErrTooManyOps, "129 operations")
		_, err = w.Txn(w).Then(clientv3.OpPut("k", ""), clientv3.OpPut("k", "")).Commit()
		w.fails(err, rpctypes.ErrDuplicateKey, "one key twice")
	}},
	{"kv: any bytes, any size", func(w *world) {
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		_, err := w.Put(w, w.prefix+string(all), string(all))
		w.ok(err, "put of all bytes")
		got, err := w.Get(w, w.prefix, clientv3.WithPrefix())
		w.ok(err, "get")
		w.that(bytes.Equal(got.Kvs[0].Value, all) && string(got.Kvs[0].Key) == w.prefix+string(all), "the same bytes")
		w.put("empty", "")
		w.equal(w.get("empty"), "", "empty value")
		for i := range 6 {
			w.put(fmt.Sprintf("large/%d", i), strings.Repeat(fmt.Sprint(i), 1_500_000))
		}
		large, err := w.Get(w, w.key("large/"), clientv3.WithPrefix())
		w.ok(err, "get of 9 MB")
		for i, kv := range large.Kvs {
			w.that(len(kv.Value) == 1_500_000 && kv.Value[1_499_999] == byte('0'+i), "a large value")
		}
	}},
	{"kv: 200 calls at once on one connection", func(w *world) {
		var calls sync.WaitGroup
		errs := make([]error, 200)
		for i := range errs {
			calls.Go(func() { _, errs[i] = w.Put(w, w.key(fmt.Sprintf("%03d", i)), fmt.Sprint(i)) })
		}
		calls.Wait()
		for _, err := range errs {
			w.ok(err, "put")
		}
		got, err := w.Get(w, w.prefix, clientv3.WithPrefix())
		w.ok(err, "get")
		w.equal(len(got.Kvs), 200, "all there")
		seen := map[int64]bool{}
		for i, kv := range got.Kvs {
			w.equal(string(kv.Value), fmt.Sprint(i), "value")
			w.that(!seen[kv.ModRevision], "a revision each")
			seen[kv.ModRevision] = true
		}
	}},
	{"kv: compaction", func(w *world) {
		first := w.put("k", "1")
		second := w.put("k", "2")
		_, err := w.Compact(w, second, clientv3.WithCompactPhysical())
		w.ok(err, "compact")
		_, err = w.Get(w, w.key("k"), clientv3.WithRev(first))
		w.fails(err, rpctypes.ErrCompacted, "get of what is compacted")
		_, err = w.Compact(w, second)
		w.fails(err, rpctypes.ErrCompacted, "compaction again")
		w.equal(w.get("k"), "2", "newest value")
	}},
}

var txnCases = []testCase{
	{"txn: compares, both branches, nested", func(w *world) {
		rev := w.put("k", "1")
		answer, err := w.Txn(w).If(
			clientv3.Compare(clientv3.ModRevision(w.key("k")), "=", rev),
			clientv3.Compare(clientv3.Value(w.key("k")), "!=", "2"),
			clientv3.Compare(clientv3.Version(w.key("none")), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(w.key("k")), ">", 0),
			clientv3.Compare(clientv3.LeaseValue(w.key("k")), "=", 0),
		).Then(
			clientv3.OpPut(w.key("k"), "2"),
			clientv3.OpGet(w.key("k")),
			clientv3.OpTxn(
				[]clientv3.Cmp{clientv3.Compare(clientv3.Value(w.key("k")), "=", "1")},
				[]clientv3.Op{clientv3.OpPut(w.key("inner"), "then")},
				[]clientv3.Op{clientv3.OpPut(w.key("inner"), "else")},
			),
		).Else(clientv3.OpDelete(w.key("k"))).Commit()
		w.ok(err, "txn")
		w.that(answer.Succeeded, "the compares hold")
		w.equal(answer.Header.Revision, rev+1, "one revision")
		w.equal(string(answer.Responses[1].GetResponseRange().Kvs[0].Value), "2", "reads its own write")
		w.equal(w.get("inner"), "then", "nested compares see the state before")
		failed, err := w.Txn(w).If(clientv3.Compare(clientv3.ModRevision(w.key("k")), "=", rev)).
			Then(clientv3.OpDelete(w.key("k"))).Else(clientv3.OpGet(w.key("k"))).Commit()
		w.ok(err, "txn")
		w.that(!failed.Succeeded && failed.Header.Revision == rev+1, "nothing was changed")
		ranged, err := w.Txn(w).If(clientv3.Compare(clientv3.CreateRevision(w.prefix), ">", 0).WithPrefix()).Commit()
		w.ok(err, "txn")
		w.that(ranged.Succeeded, "a compare of all keys")
	}},
}
