import { LIMIT_DEFAULT } from "../../api/queries.ts";
import { type Items, shownWhenAsked } from "../items.ts";
import { linkTo, type Question } from "../question.ts";
import { breathe } from "../slices.ts";

export interface Page<T> {
  readonly items: Items<T>;
  readonly total: number;
  readonly offset: number;
  readonly next: string | null;
}

/** Items that are passed over in one go. */
const SCANNED = 5000;

/** The page of a list that was asked for: only its items are made into what is shown, and those once they are sent. */
export async function pageOf<T, U>(all: Iterable<T>, question: Question, view: (item: T) => U): Promise<Page<U>> {
  const { offset = 0, limit = LIMIT_DEFAULT } = question.query;
  const end = offset + limit;
  const page: T[] = [];
  let total = 0;
  for (const item of all) {
    if (total >= offset && total < end) page.push(item);
    if (++total % SCANNED === 0) await breathe();
  }
  return { items: shownWhenAsked(page, view), total, offset, next: total > end ? linkTo(question, end) : null };
}
