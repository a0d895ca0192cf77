import { type Pointer, read } from "bun:ffi";
import { closeSync, openSync } from "node:fs";
import { KernelError } from "./errors.ts";
import { lazyLibrary } from "./library.ts";

export const libc = lazyLibrary("libc.so.6", "libc6", {
  __errno_location: { args: [], returns: "ptr" },
  ioctl: { args: ["i32", "usize", "ptr"], returns: "i32" },
  flock: { args: ["i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  recv: { args: ["i32", "ptr", "usize", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  sendto: { args: ["i32", "ptr", "usize", "i32", "ptr", "u32"], returns: "i32" },
  setns: { args: ["i32", "i32"], returns: "i32" },
  malloc: { args: ["usize"], returns: "ptr" },
  free: { args: ["ptr"], returns: "void" },
  memcpy: { args: ["ptr", "ptr", "usize"], returns: "ptr" },
});

let errnoAddress: Pointer | undefined;

/** errno of the call just made. Its address is one for the thread; all FFI calls are made from the main thread. */
export function errno(): number {
  errnoAddress ??= Number(libc().__errno_location()) as Pointer;
  return read.i32(errnoAddress, 0);
}

/**
 * recv(2).
 * @returns bytes received, or the errno as a negative number
 */
export function receive(fd: number, into: Uint8Array, flags: number): number {
  const length = libc().recv(fd, into, into.length, flags);
  return length >= 0 ? length : -errno();
}

/** setsockopt(2) with an int. @returns false when the kernel refuses, as an older one does for a newer option */
export function setSocketOption(fd: number, level: number, option: number, value: number): boolean {
  return libc().setsockopt(fd, level, option, Int32Array.of(value), 4) === 0;
}

/**
 * getsockopt(2) into a buffer that also holds what is asked for.
 * @returns false when the kernel refuses, with `errno()`
 */
export function getSocketOption(fd: number, level: number, option: number, buffer: Uint8Array): boolean {
  return libc().getsockopt(fd, level, option, buffer, Uint32Array.of(buffer.length)) === 0;
}

/** socket(2). The caller closes the descriptor. */
export function openSocket(domain: number, type: number, protocol: number): number {
  const fd = libc().socket(domain, type, protocol);
  if (fd < 0) throw new KernelError("open socket", `domain ${domain}`, errno());
  return fd;
}

/** bind(2) with a whole sockaddr. */
export function bindSocket(fd: number, address: Uint8Array, object: string): void {
  if (libc().bind(fd, address, address.length) < 0) throw new KernelError("bind to", object, errno());
}

/** sendto(2) with a whole sockaddr as the kernel lays it out. */
export function sendTo(fd: number, bytes: Uint8Array, address: Uint8Array, object: string): void {
  if (libc().sendto(fd, bytes, bytes.length, 0, address, address.length) < 0)
    throw new KernelError("send to", object, errno());
}

const CLONE_NEWNET = 0x40000000; // linux/sched.h

function enter(fd: number, object: string): void {
  if (libc().setns(fd, CLONE_NEWNET) !== 0) throw new KernelError("enter network namespace", object, errno());
}

/**
 * Runs `action` with the calling thread in another network namespace. Sockets that it opens stay in that namespace;
 * it must not await, for the thread goes on with other work meanwhile.
 * @param path such as /run/netns/NAME
 */
export function inNetworkNamespace<T>(path: string, action: () => T): T {
  const home = openSync("/proc/thread-self/ns/net", "r");
  try {
    const there = openSync(path, "r");
    try {
      enter(there, path);
    } finally {
      closeSync(there);
    }
    try {
      return action();
    } finally {
      enter(home, "of the process");
    }
  } finally {
    closeSync(home);
  }
}
