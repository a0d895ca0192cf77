import { closeSync } from "node:fs";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM } from "./constants.ts";
import { openSocket, sendTo } from "./libc.ts";

/**
 * Tells the service manager of a change of state, such as `READY=1` (sd_notify(3)).
 * @param socket $NOTIFY_SOCKET: a path, or an abstract name that begins with `@`
 * @throws KernelError
 */
export function notifyServiceManager(socket: string, state: string): void {
  const name = new TextEncoder().encode(socket);
  // struct sockaddr_un (unix(7)): the abstract namespace has a zero byte in the place of the @.
  if (socket.startsWith("@")) name[0] = 0;
  const address = new Uint8Array(2 + name.length);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  const fd = openSocket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    sendTo(fd, new TextEncoder().encode(state), address, `the service manager at ${socket}`);
  } finally {
    closeSync(fd);
  }
}
