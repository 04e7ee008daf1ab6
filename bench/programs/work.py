"""work.py TEST N: pure Python work, no imports beyond sys."""
import sys


def fannkuch(n):
    p, count, best, r, total, sign = list(range(n)), [0] * n, 0, n, 0, 1
    while True:
        while r != 1:
            count[r - 1] = r
            r -= 1
        if p[0]:
            q, flips = p[:], 0
            while q[0]:
                k = q[0] + 1
                q[:k] = q[:k][::-1]
                flips += 1
            best = max(best, flips)
            total += flips * sign
        sign = -sign
        while True:
            if r == n:
                return best, total
            p.insert(r, p.pop(0))
            count[r] -= 1
            if count[r] > 0:
                break
            r += 1


def words(n):
    seen, seed = {}, 42
    for i in range(n):
        seed = seed * 16807 % 2147483647
        key = "k%d-%x" % (seed % 5000, i % 97)
        seen[key] = seen.get(key, 0) + 1
    text = ",".join(sorted(seen, key=lambda k: (-seen[k], k)))
    return len(seen), len(text), sum(map(ord, text)), text[:40].upper().split(",")


class Node:
    __slots__ = ("value", "left", "right")

    def __init__(self, value):
        self.value, self.left, self.right = value, None, None


def tree(n):
    root, seed, depth = Node(1 << 30), 7, 0
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        at, steps = root, 0
        while True:
            steps += 1
            side = "left" if seed < at.value else "right"
            following = getattr(at, side)
            if following is None:
                setattr(at, side, Node(seed))
                break
            at = following
        depth = max(depth, steps)
    return depth, seed


def digits(n):
    """N digits of pi by a spigot: long integers."""
    q, r, t, k, m, x, out = 1, 0, 1, 1, 3, 3, []
    while len(out) < n:
        if 4 * q + r - t < m * t:
            out.append(str(m))
            q, r, m = 10 * q, 10 * (r - m * t), (10 * (3 * q + r)) // t - 10 * m
        else:
            q, r, t, k, m, x = (q * k, (2 * q + r) * x, t * x, k + 1,
                                (q * (7 * k + 2) + r * x) // (t * x), x + 2)
    return "".join(out)[-30:]


print(sys.argv[1], {"fannkuch": fannkuch, "words": words, "tree": tree, "digits": digits}[sys.argv[1]](int(sys.argv[2])))
