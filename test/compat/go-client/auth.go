package main

import (
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Played last, as they turn authentication on, and off again.
var authCases = []testCase{
	{"auth: users with permissions, a refreshed token, a lost password", func(w *world) {
		w.setUpUsers()
		root := w.dialAs("root", "root")
		defer root.AuthDisable(w)
		_, err := w.Put(w, w.key("a"), "1")
		w.fails(err, rpctypes.ErrUserEmpty, "put without a login")
		user := w.dialAs("user", "user")
		_, err = user.Put(w, w.key("a"), "1")
		w.ok(err, "put")
		_, err = user.Put(w, "elsewhere", "1")
		w.fails(err, rpctypes.ErrPermissionDenied, "put elsewhere")

		// Its token ends with the old password; the client logs in again by itself, and goes on.
		_, err = root.UserChangePassword(w, "user", "user")
		w.ok(err, "change the password to the same")
		_, err = user.Put(w, w.key("a"), "2")
		w.ok(err, "put with a new token")
		_, err = root.UserChangePassword(w, "user", "other")
		w.ok(err, "change the password")
		_, err = user.Put(w, w.key("a"), "3")
		w.that(err != nil, "the old password is of no use")
		_, err = clientv3.New(w.configAs("user", "user"))
		w.fails(err, rpctypes.ErrAuthFailed, "log in with it")
	}},
	{"auth: watches and leases as a user", func(w *world) {
		w.setUpUsers()
		root := w.dialAs("root", "root")
		defer root.AuthDisable(w)
		user := w.dialAs("user", "user")
		channel := user.Watch(w, w.prefix, clientv3.WithPrefix())
		refused := <-user.Watch(w, "elsewhere")
		w.that(strings.HasSuffix(refused.Err().Error(), rpctypes.ErrPermissionDenied.Error()), "watch elsewhere")
		lease, err := user.Grant(w, 100)
		w.ok(err, "grant")
		_, err = user.Put(w, w.key("a"), "1", clientv3.WithLease(lease.ID))
		w.ok(err, "put")
		w.equal(string((<-channel).Events[0].Kv.Value), "1", "what the watch is told")
		_, err = user.KeepAliveOnce(w, lease.ID)
		w.ok(err, "keep alive")
		_, err = root.Put(w, "elsewhere", "1", clientv3.WithLease(lease.ID))
		w.ok(err, "root's put")
		_, err = user.Revoke(w, lease.ID)
		w.fails(err, rpctypes.ErrPermissionDenied, "revoke with another's key")
		_, err = root.Revoke(w, lease.ID)
		w.ok(err, "root's revoke")
	}},
}

func (w *world) configAs(name, password string) clientv3.Config {
	return clientv3.Config{
		Endpoints:   []string{w.endpoint},
		DialTimeout: 5 * time.Second,
		Username:    name,
		Password:    password,
		Logger:      zap.NewNop(),
	}
}

func (w *world) dialAs(name, password string) *clientv3.Client {
	client, err := clientv3.New(w.configAs(name, password))
	w.ok(err, "log in as "+name)
	w.closers = append(w.closers, func() { client.Close() })
	return client
}

// setUpUsers makes root, and user with the case's keys, anew, and turns authentication on.
func (w *world) setUpUsers() {
	for _, name := range []string{"root", "user"} {
		w.UserDelete(w, name)
		_, err := w.UserAdd(w, name, name)
		w.ok(err, "add "+name)
	}
	w.RoleDelete(w, "role")
	_, err := w.RoleAdd(w, "role")
	w.ok(err, "add the role")
	_, err = w.RoleGrantPermission(w, "role", w.prefix, clientv3.GetPrefixRangeEnd(w.prefix), clientv3.PermissionType(clientv3.PermReadWrite))
	w.ok(err, "permit")
	_, err = w.UserGrantRole(w, "user", "role")
	w.ok(err, "give the role")
	_, err = w.UserGrantRole(w, "root", "root")
	w.ok(err, "give root its role")
	_, err = w.AuthEnable(w)
	w.ok(err, "enable")
}
