import { closeSync } from "node:fs";
import { AF_INET, SIOCGIFMTU, SOCK_CLOEXEC, SOCK_DGRAM } from "./constants.ts";
import { KernelError } from "./errors.ts";
import { errno, inNetworkNamespace, libc, openSocket } from "./libc.ts";

// struct ifreq, linux/if.h: the name, then a union of 24 bytes
const NAME_BYTES = 16;
const REQUEST_BYTES = 40;

/**
 * The MTU of an interface in a network namespace, by netdevice(7): needs nothing but libc.
 * @param netns path
 * @returns bytes
 */
export function interfaceMtu(netns: string, name: string): number {
  return inNetworkNamespace(netns, () => {
    const request = new Uint8Array(REQUEST_BYTES);
    request.set(new TextEncoder().encode(name).subarray(0, NAME_BYTES - 1));
    const fd = openSocket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    try {
      if (libc().ioctl(fd, SIOCGIFMTU, request) < 0) throw new KernelError("read the MTU of", name, errno());
    } finally {
      closeSync(fd);
    }
    return new DataView(request.buffer).getInt32(NAME_BYTES, true);
  });
}
