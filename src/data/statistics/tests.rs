use super::order::Order;

#[test]
fn a_random_order_has_every_row_once_and_depends_on_the_seed() {
    let rows = |order: &Order| order.groups().map(|group| <[u32; 1]>::try_from(group).unwrap()[0]).collect::<Vec<_>>();
    let (first, second) = (rows(&Order::random(50, 1)), rows(&Order::random(50, 2)));
    assert_ne!(first, second);
    assert_eq!(first, rows(&Order::random(50, 1)));
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    assert!(rows(&Order::random(0, 1)).is_empty());
}

#[test]
fn rows_of_one_time_are_a_group() {
    let groups = |times: &[f64]| Order::by_time(times).groups().map(<[u32]>::to_vec).collect::<Vec<_>>();
    assert_eq!(groups(&[3.0, 1.0, 3.0, -2.0, 1.0]), [vec![3], vec![1, 4], vec![0, 2]]);
    assert_eq!(groups(&[0.0, -0.0]), [vec![1, 0]]);
    assert_eq!(groups(&[]), Vec::<Vec<u32>>::new());
}
