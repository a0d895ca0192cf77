import { closeSync, fstatSync, openSync, readSync } from "node:fs";

const CHUNK = 1 << 20;

/** Whether two files have the same bytes. @throws Error if one can't be read */
export function sameContent(one: string, other: string): boolean {
  const a = openSync(one, "r");
  try {
    const b = openSync(other, "r");
    try {
      return fstatSync(a).size === fstatSync(b).size && sameBytes(a, b);
    } finally {
      closeSync(b);
    }
  } finally {
    closeSync(a);
  }
}

function sameBytes(one: number, other: number): boolean {
  const [a, b] = [Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)];
  for (;;) {
    const length = readSync(one, a);
    if (readSync(other, b) !== length) return false;
    if (length === 0) return true;
    if (a.compare(b, 0, length, 0, length) !== 0) return false;
  }
}
