// tar archives in the form of POSIX 1003.1-1988 (ustar), which every reader of images reads.
import { complete, type Entry, type Tree } from "./tree.ts";

const BLOCK = 512;
const TYPES = { file: "0", symlink: "2", directory: "5" } as const;
/** of a name alone, and of the folder before it */
const LONGEST = { name: 100, prefix: 155 };

/**
 * @param mtime seconds since 1970, of everything in it
 * @throws Error if a path is too long for the form
 */
export function tar(tree: Tree, mtime: number): Uint8Array<ArrayBuffer> {
  const blocks: Uint8Array[] = [];
  for (const [path, entry] of complete(tree)) {
    const content = entry.type === "file" ? entry.content : new Uint8Array();
    blocks.push(header(entry.type === "directory" ? `${path}/` : path, entry, content.length, mtime), content);
    blocks.push(new Uint8Array(-content.length & (BLOCK - 1)));
  }
  blocks.push(new Uint8Array(2 * BLOCK));
  return new Uint8Array(Buffer.concat(blocks));
}

function header(path: string, entry: Entry, size: number, mtime: number): Uint8Array {
  const bytes = Buffer.alloc(BLOCK);
  const { name, prefix } = split(path);
  const target = entry.type === "symlink" ? entry.target : "";
  if (Buffer.byteLength(target) > LONGEST.name) throw new Error(`the target of ${path} is too long for tar: ${target}`);
  bytes.write(name, 0);
  bytes.write(octal(entry.type === "symlink" ? 0o777 : entry.mode, 8), 100);
  bytes.write(octal(0, 8), 108); // uid
  bytes.write(octal(0, 8), 116); // gid
  bytes.write(octal(size, 12), 124);
  bytes.write(octal(mtime, 12), 136);
  bytes.write(" ".repeat(8), 148);
  bytes.write(TYPES[entry.type], 156);
  bytes.write(target, 157);
  bytes.write("ustar\x0000", 257);
  bytes.write(prefix, 345);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${octal(sum, 7)} `, 148);
  return bytes;
}

/** A number and the NUL after it. */
function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, "0")}\0`;
}

function split(path: string): { name: string; prefix: string } {
  if (Buffer.byteLength(path) <= LONGEST.name) return { name: path, prefix: "" };
  for (let at = path.indexOf("/"); at > 0 && at < path.length - 1; at = path.indexOf("/", at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (Buffer.byteLength(name) <= LONGEST.name && Buffer.byteLength(prefix) <= LONGEST.prefix) return { name, prefix };
  }
  throw new Error(`this path is too long for tar: ${path}`);
}
