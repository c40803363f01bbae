//! Of boxes that show the same thing, only the surest is kept.

use super::Detection;

/// Boxes that are looked at in one picture: the surest, should there be more (as in the YOLO family).
const CANDIDATES_MAX: usize = 30_000;

/// Drops every box that shares more than `overlap_max` with a surer one of its class, and keeps at most
/// `detections_max`, the surest first. Boxes without a score, or of no extent, are dropped.
///
/// Overlap is the area of both over that of either. Two boxes of equal score keep their order.
///
/// **Cost.** Sorting, then at most `detections_max` comparisons for each box.
///
/// Source: greedy non-maximum suppression; Felzenszwalb et al., "Object detection with discriminatively
/// trained part based models", 2010, 5.2.
#[must_use]
pub fn suppress(
    mut found: Vec<Detection>,
    overlap_max: f32,
    detections_max: usize,
) -> Vec<Detection> {
    found.retain(|detection| 0.0 < detection.score && 0.0 < area(detection));
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(CANDIDATES_MAX);
    let mut kept: Vec<Detection> = Vec::new();
    for detection in found {
        if detections_max <= kept.len() {
            break;
        }
        let same = |other: &Detection| {
            other.class == detection.class && overlap_max < overlap(other, &detection)
        };
        if !kept.iter().any(same) {
            kept.push(detection);
        }
    }
    kept
}

fn area(detection: &Detection) -> f32 {
    let (width, height) = (detection.right - detection.left, detection.bottom - detection.top);
    // No comparison holds for what is no number.
    if 0.0 < width && 0.0 < height { width * height } else { 0.0 }
}

fn overlap(a: &Detection, b: &Detection) -> f32 {
    let both = Detection {
        left: a.left.max(b.left),
        top: a.top.max(b.top),
        right: a.right.min(b.right),
        bottom: a.bottom.min(b.bottom),
        ..*a
    };
    let both = area(&both);
    both / (area(a) + area(b) - both)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn square(class: usize, score: f32, left: f32) -> Detection {
        Detection { class, score, left, top: 0.0, right: left + 10.0, bottom: 10.0 }
    }

    #[test]
    fn the_surest_of_overlapping_boxes_is_kept() {
        // 8 of 12 columns are common: 0.67.
        let found = vec![square(0, 0.5, 0.0), square(0, 0.9, 2.0), square(0, 0.4, 30.0)];
        assert_eq!(vec![square(0, 0.9, 2.0), square(0, 0.4, 30.0)], suppress(found, 0.45, 9));
    }

    #[test]
    fn an_overlap_of_exactly_the_limit_is_allowed() {
        // 5 of 15 columns are common.
        let found = vec![square(0, 0.9, 0.0), square(0, 0.8, 5.0)];
        assert_eq!(2, suppress(found.clone(), 1.0 / 3.0, 9).len());
        assert_eq!(1, suppress(found, 0.33, 9).len());
    }

    #[test]
    fn classes_do_not_hide_each_other() {
        assert_eq!(2, suppress(vec![square(0, 0.9, 0.0), square(1, 0.8, 0.0)], 0.45, 9).len());
    }

    #[test]
    fn what_is_no_box_is_dropped() {
        let mut broken = [square(0, f32::NAN, 0.0), square(0, 0.9, f32::NAN), square(0, 0.9, 0.0)];
        broken[2].right = -1.0;
        assert!(suppress(broken.to_vec(), 0.45, 9).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What is kept stands apart; what is dropped is hidden by something surer that is kept.
        #[test]
        fn nothing_is_kept_twice_and_nothing_lost(
            boxes in prop::collection::vec((0..2_usize, 0.01..1.0_f32, 0.0..60.0_f32), 0..60)
        ) {
            let found: Vec<_> = boxes.into_iter().map(|(c, s, l)| square(c, s, l)).collect();
            let kept = suppress(found.clone(), 0.45, 1000);
            let hides = |a: &Detection, b: &Detection| a.class == b.class && 0.45 < overlap(a, b);
            for (at, a) in kept.iter().enumerate() {
                prop_assert!(kept[at + 1..].iter().all(|b| !hides(a, b) && b.score <= a.score));
            }
            for b in &found {
                let known = kept.contains(b);
                prop_assert!(known || kept.iter().any(|a| b.score <= a.score && hides(a, b)));
            }
        }
    }
}
